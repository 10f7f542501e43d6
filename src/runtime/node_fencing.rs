//! Carries out the orders of the engine on power switches. Each order runs in a task of its own, one after the other for each
//! node, and ends in an event.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::sleep;

use super::engine_handle::EngineHandle;
use crate::agent::Abort;
use crate::agent::fence;
use crate::control::api::{ControlAnswer, Refusal, RefusalCode};
use crate::engine::{Event, OrderId};
use crate::model::NodeName;
use crate::model::fence_device::{FenceDevice, FencePart};
use crate::model::fencing::{FenceCall, Power};

/// How often a power switch is asked whether it answers.
const TEST_EVERY: Duration = Duration::from_secs(600);
/// Not at once: at a start, and when a node is being fenced, there are more urgent questions.
const FIRST_TEST_AFTER: Duration = Duration::from_secs(5);

/// The power switches of all nodes, and what runs for them.
pub struct NodeFencer {
    devices: Vec<Arc<FenceDevice>>,
    running: HashMap<NodeName, Abort>,
    /// What is told to one machine is told in order.
    turns: Turns,
    /// Ends the regular tests of the power switches.
    testing: Abort,
    me: NodeName,
    engine: EngineHandle,
}

type Turns = HashMap<NodeName, Arc<Mutex<()>>>;

impl NodeFencer {
    /// Nothing runs yet.
    pub fn new(me: &NodeName, devices: &[FenceDevice], engine: EngineHandle) -> NodeFencer {
        let mut fencer = NodeFencer {
            devices: Vec::new(),
            running: HashMap::new(),
            turns: Turns::default(),
            testing: Abort::new(),
            me: me.clone(),
            engine,
        };
        fencer.reconfigure(devices);
        fencer
    }

    /// Uses other devices from now on. What runs goes on.
    pub fn reconfigure(&mut self, devices: &[FenceDevice]) {
        self.devices = devices.iter().cloned().map(Arc::new).collect();
        self.test_again();
    }

    /// Begins to ask the power switches of the other nodes now and then. A test must not hold up an order: whatever is being
    /// asked is ended first.
    fn test_again(&mut self) {
        self.testing.abort();
        self.testing = Abort::new();
        for device in self.devices.iter().filter(|d| d.node != self.me) {
            let (device, turn) = (Arc::clone(device), turn_of(&mut self.turns, &device.node));
            let (abort, engine) = (self.testing.clone(), self.engine.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = abort.aborted() => {}
                    () = test_now_and_then(&device, &turn, &abort, &engine) => {}
                }
            });
        }
    }

    fn device(&self, node: &NodeName) -> Option<Arc<FenceDevice>> {
        self.devices.iter().find(|d| d.node == *node).cloned()
    }

    /// Starts to carry out an order.
    pub fn call(&mut self, node: NodeName, order: OrderId, call: FenceCall) {
        self.test_again();
        let abort = Abort::new();
        self.running.insert(node.clone(), abort.clone());
        let (device, engine) = (self.device(&node), self.engine.clone());
        let turn = turn_of(&mut self.turns, &node);
        tokio::spawn(async move {
            let work = async move {
                let _turn = turn.lock().await;
                match device {
                    Some(device) => fence::call_device(&device, call, &abort).await,
                    None => Err("ha.cf has no fence line for it any more".to_owned()),
                }
            };
            // Even when there is an error in the agent's code, the engine gets a result.
            let result = tokio::spawn(work).await;
            let result =
                result.unwrap_or_else(|e| Err(format!("internal error: {e}; please report it")));
            engine.send_event(Event::FenceDone {
                node,
                order,
                result,
            });
        });
    }

    /// Kills what runs for a node.
    pub fn abort(&mut self, node: &NodeName) {
        if let Some(abort) = self.running.remove(node) {
            abort.abort();
        }
    }

    /// Asks each power switch of a node, and changes nothing (`hactl fence test`).
    pub fn test(
        &self,
        node: &NodeName,
    ) -> impl Future<Output = Result<ControlAnswer, Refusal>> + use<> {
        let (node, device, engine) = (node.clone(), self.device(node), self.engine.clone());
        async move {
            let Some(device) = device else {
                let text = format!("ha.cf has no `fence {node}` line");
                return Err(Refusal::new(RefusalCode::Refused, text));
            };
            let (mut lines, mut errors) = (Vec::new(), Vec::new());
            for (at, level) in device.levels.iter().enumerate() {
                for part in &level.parts {
                    let said = fence::ask_part(part, &node, &Abort::new()).await;
                    errors.extend(said.as_ref().err().cloned());
                    lines.push(test_line(at, part, said));
                }
            }
            let text = lines.join("\n");
            let good = errors.is_empty();
            engine.send_event(Event::FenceTested {
                node,
                result: result_of_test(&errors),
            });
            if good {
                Ok(ControlAnswer::Done(text))
            } else {
                Err(Refusal::new(RefusalCode::Refused, text))
            }
        }
    }
}

fn turn_of(turns: &mut Turns, node: &NodeName) -> Arc<Mutex<()>> {
    Arc::clone(turns.entry(node.clone()).or_default())
}

/// Asks every power switch of a node, again and again.
async fn test_now_and_then(
    device: &FenceDevice,
    turn: &Mutex<()>,
    abort: &Abort,
    engine: &EngineHandle,
) {
    let mut pause = FIRST_TEST_AFTER;
    loop {
        sleep(pause).await;
        pause = TEST_EVERY;
        let turn = turn.lock().await;
        let mut errors = Vec::new();
        for part in device.levels.iter().flat_map(|level| &level.parts) {
            errors.extend(fence::ask_part(part, &device.node, abort).await.err());
        }
        drop(turn);
        let node = device.node.clone();
        let result = result_of_test(&errors);
        engine.send_event(Event::FenceTested { node, result });
    }
}

/// What the engine is told: one line of what went wrong.
fn result_of_test(errors: &[String]) -> Result<(), String> {
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors.join("; "))
    }
}

fn test_line(level: usize, part: &FencePart, said: Result<Power, String>) -> String {
    let number = level + 1;
    match said {
        Ok(power) => format!(
            "{number}. {}: the machine is {}",
            part.agent,
            power.as_str()
        ),
        Err(error) => format!("{number}. {error}"),
    }
}
