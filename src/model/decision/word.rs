//! A decision as one of a few words, for programs. The words stay the same when the sentences are worded anew.

use super::What;
use crate::model::NodeName;

impl What {
    /// The kind of decision; hactl(8) lists the words.
    #[allow(clippy::too_many_lines)] // one word for each decision
    pub fn word(&self) -> &'static str {
        match self {
            Self::PeerActive(_) => "node-active",
            Self::PeerLate(_) => "node-late",
            Self::PeerDead(_) => "node-dead",
            Self::PeerLeft(_) => "node-left",
            Self::PeerRestarted(_) => "node-restarted",
            Self::PeerDeaf(_) => "node-deaf",
            Self::OtherVersion(..) => "other-version",
            Self::ConfigDiffers(_) => "config-differs",
            Self::LinkUp(..) => "link-up",
            Self::LinkDown(..) => "link-down",
            Self::PingUp(_) => "ping-up",
            Self::PingDown(_) => "ping-down",
            Self::PingIsMember(..) => "ping-is-member",
            Self::QuorumGained { .. } => "quorum-gained",
            Self::QuorumOthersDead { .. } => "quorum-others-dead",
            Self::QuorumLost { .. } => "quorum-lost",
            Self::VotersChange(_) => "voters-change",
            Self::VotersAgreed => "voters-agreed",
            Self::Joined => "joined",
            Self::Gap(_) => "gap",
            Self::Adopt(_) => "adopt",
            Self::Claim(_) => "claim",
            Self::Withdraw => "withdraw",
            Self::Start => "start",
            Self::Online => "online",
            Self::RunsAt(_) => "runs-at",
            Self::DaemonStarted(_) => "daemon-started",
            Self::DaemonEnded(_) => "daemon-ended",
            Self::Reloaded(_) => "reloaded",
            Self::AddressesRestored(_) => "addresses-restored",
            Self::PacketsRejected(_) => "packets-rejected",
            Self::Stop => "stop",
            Self::Offline => "offline",
            Self::Offer(_) => "offer",
            Self::OfferEnded(_) => "offer-ended",
            Self::Failed => "failed",
            Self::Stuck => "stuck",
            Self::FailureExpired => "failure-expired",
            Self::Held => "held",
            Self::Commanded(_) => "commanded",
            Self::CommandFailed(_) => "command-failed",
            Self::Leaving => "leaving",
            Self::Announced => "announced",
            Self::SharedName { .. } => "shared-name",
            Self::SharedNameEnded(_) => "shared-name-ended",
            Self::StaysOut => "stays-out",
            Self::NotDead(_) => "not-dead",
            Self::FenceBegins(_) => "fence-begins",
            Self::Fenced(_) => "fenced",
            Self::FenceFailed(_) => "fence-failed",
            Self::FencedIsOn(_) => "fenced-is-on",
            Self::FencedLives(_) => "fenced-lives",
            Self::FenceHeld(_) => "fence-held",
            Self::PowerSwitchFails(_) => "power-switch-fails",
            Self::PowerSwitchAnswers(_) => "power-switch-answers",
            Self::NewGeneration(_) => "new-generation",
            Self::CheckFailed(_) => "check-failed",
            Self::CheckPassed(_) => "check-passed",
            Self::LookFailed { .. } => "look-failed",
            Self::Restart { .. } => "restart",
            Self::RunsOn => "runs-on",
            Self::FailbackWaits(_) => "failback-waits",
            Self::Drilled { .. } => "drilled",
        }
    }

    /// The other node that it is about, if it is about one.
    pub fn about(&self) -> Option<&NodeName> {
        match self {
            Self::PeerActive(node)
            | Self::PeerLate(node)
            | Self::PeerDead(node)
            | Self::PeerLeft(node)
            | Self::PeerRestarted(node)
            | Self::PeerDeaf(node)
            | Self::OtherVersion(node, _)
            | Self::ConfigDiffers(node)
            | Self::LinkUp(node, _)
            | Self::LinkDown(node, _)
            | Self::PingIsMember(_, node)
            | Self::RunsAt(node)
            | Self::Offer(node)
            | Self::OfferEnded(node)
            | Self::SharedName { node, .. }
            | Self::SharedNameEnded(node)
            | Self::NotDead(node)
            | Self::FenceBegins(node)
            | Self::Fenced(node)
            | Self::FenceFailed(node)
            | Self::FencedIsOn(node)
            | Self::FencedLives(node)
            | Self::FenceHeld(node)
            | Self::PowerSwitchFails(node)
            | Self::PowerSwitchAnswers(node)
            | Self::FailbackWaits(node)
            | Self::Drilled { to: node, .. } => Some(node),
            _ => None,
        }
    }
}
