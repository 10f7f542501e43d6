//! Random commands of an administrator.

use crate::chaos::Chaos;
use had::engine::Command;
use had::sim::World;

impl Chaos {
    fn ask(&mut self, world: &mut World, a: &str, command: Command) {
        if world.at(a).alive() {
            self.note(world, format!("{a}: {command:?}"));
            let id = world.command(a, command);
            self.asked.push((a.to_owned(), 0, id));
        }
    }

    pub(crate) fn standby(&mut self, world: &mut World) {
        let a = self.node(world);
        let groups = self.some_groups(world);
        let lasting = world.random.chance(500);
        self.ask(world, &a, Command::Standby { groups, lasting });
    }

    pub(crate) fn takeover(&mut self, world: &mut World) {
        let a = self.node(world);
        let groups = self.some_groups(world);
        self.ask(
            world,
            &a,
            Command::Takeover {
                groups,
                force: false,
            },
        );
    }

    pub(crate) fn unstandby(&mut self, world: &mut World) {
        let a = self.node(world);
        self.ask(world, &a, Command::Unstandby(self.groups.clone()));
    }

    pub(crate) fn clear(&mut self, world: &mut World) {
        let a = self.node(world);
        let group = world.random.pick(&self.groups).unwrap().clone();
        // Clearing what a dead node may still run is an administrator's word that it does not: true only of a machine
        // that is off.
        let true_word = self
            .nodes
            .iter()
            .all(|n| world.at(n).alive() || !world.at(n).powered);
        if true_word {
            self.ask(world, &a, Command::Clear(group));
        }
    }

    pub(crate) fn leave(&mut self, world: &mut World) {
        let a = self.node(world);
        self.ask(world, &a, Command::Leave);
    }

    pub(crate) fn maintenance(&mut self, world: &mut World) {
        let a = self.node(world);
        let groups = self.some_groups(world);
        let on = world.random.chance(400);
        self.ask(world, &a, Command::Maintenance { groups, on });
    }

    /// An administrator takes back what was ordered and clears what failed.
    pub fn make_amends(&mut self, world: &mut World) {
        for node in self.nodes.clone() {
            let groups = self.groups.clone();
            self.ask(world, &node, Command::Unstandby(groups.clone()));
            self.ask(
                world,
                &node,
                Command::Maintenance {
                    groups: groups.clone(),
                    on: false,
                },
            );
            for group in groups {
                self.ask(world, &node, Command::Clear(group));
            }
        }
    }
}
