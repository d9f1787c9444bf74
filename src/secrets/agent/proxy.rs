//! The socket that is forwarded in place of the user's own agent, and what stands behind it: each request is judged,
//! reported, and either passed on to the user's agent byte for byte or answered with FAILURE.
//!
//! Each connection has one of its own to the user's agent, which keeps its sessions per connection. The whole lives no
//! longer than its [`ConfinedAgent`]: from the moment that is dropped nothing is passed on in either direction.

use super::frame::{
    EXTENSION_FAILURE, FAILURE, FRAME_LIMIT, IDENTITIES, SIGNATURE, SUCCESS, filter_list,
};
use super::policy::{Connection, Policy, Verdict, judge};
use crate::paths::socket_directory;
use crate::report::AgentRequest;
use anyhow::{Context, Result};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

/// The user's own agent.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// The socket that the agent listens on.
    pub socket: PathBuf,
    /// How long it may take over an answer. Its user may have to touch a key or to confirm.
    pub patience: Duration,
}

impl Upstream {
    /// The agent at a socket, with two minutes for an answer.
    pub fn at(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), patience: Duration::from_secs(120) }
    }
}

/// Asks the user about a signature, and is true if they agree.
pub(crate) type Confirm =
    Arc<dyn Fn(&AgentRequest) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// A connection each for as many fetches at once.
const CONNECTIONS: usize = 16;
/// Requests in all. A login takes about four, and a budget is some dozens of them.
const REQUESTS: usize = 2000;
/// How long a question for a signature stands.
const QUESTION: Duration = Duration::from_secs(60);

/// An agent that can do no more than its [`Policy`] says, for as long as this value lives.
pub struct ConfinedAgent {
    socket: PathBuf,
    /// Removed, socket and all, when it is dropped.
    _dir: TempDir,
    gate: Arc<Gate>,
    listening: JoinHandle<()>,
}

/// What all connections share.
struct Gate {
    policy: Policy,
    upstream: Upstream,
    confirm: Option<Confirm>,
    on_request: Box<dyn Fn(&AgentRequest) + Send + Sync>,
    state: Mutex<State>,
    /// One question at a time.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    closed: bool,
    spent: u32,
    requests: Vec<AgentRequest>,
    /// There is no one to answer.
    unanswered: bool,
}

impl ConfinedAgent {
    /// Listens on a socket of its own, which no other user can reach. Each request is reported with its outcome, at the latest
    /// when it is answered. `confirm` is asked before each signature.
    ///
    /// Must be called within a tokio runtime.
    pub fn start(
        policy: Policy,
        upstream: Upstream,
        confirm: Option<Confirm>,
        on_request: impl Fn(&AgentRequest) + Send + Sync + 'static,
    ) -> Result<Self> {
        let dir = socket_directory()?;
        let socket = dir.path().join("agent");
        let listener = UnixListener::bind(&socket)
            .with_context(|| format!("listening on {}", socket.display()))?;
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600))
            .with_context(|| format!("setting the mode of {}", socket.display()))?;
        let gate = Arc::new(Gate {
            policy,
            upstream,
            confirm,
            on_request: Box::new(on_request),
            state: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        });
        let listening = tokio::spawn(listen(listener, Arc::clone(&gate)));
        Ok(Self { socket, _dir: dir, gate, listening })
    }

    /// What to forward.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Everything that was asked so far.
    pub fn requests(&self) -> Vec<AgentRequest> {
        self.gate.lock().requests.clone()
    }
}

impl Drop for ConfinedAgent {
    fn drop(&mut self) {
        // The tasks end when the runtime comes to them; the gate is shut now.
        self.gate.lock().closed = true;
        self.listening.abort();
    }
}

async fn listen(listener: UnixListener, gate: Arc<Gate>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    // Dropped, and with it every connection, when this task is aborted.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((client, _)) = listener.accept().await else {
            // Out of file descriptors, say: others have to go first.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            gate.record(refused("connect", format!("{CONNECTIONS} connections are open already")));
            continue;
        };
        let gate = Arc::clone(&gate);
        connections.spawn(async move {
            // It ends by a client that hangs up or sends garbage; there is no one to report an error to.
            let _ = gate.serve(client).await;
            drop(place);
        });
    }
}

impl Gate {
    /// A panic while the lock was held must not open the gate.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one client until it hangs up.
    async fn serve(&self, mut client: UnixStream) -> io::Result<()> {
        let mut connection = Connection::default();
        let mut agent = Agent::default();
        loop {
            let frame = match read_frame(&mut client).await {
                Ok(frame) => frame,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    self.record(refused("unreadable", error.to_string()));
                    return Err(error);
                }
                Err(error) => return Err(error),
            };
            let (verdict, mut request) = {
                let mut state = self.lock();
                if state.closed || state.requests.len() >= REQUESTS {
                    return Ok(());
                }
                let judged = judge(&self.policy, &mut connection, state.spent, &frame);
                // Counted before it is asked for: two connections must not both have the last one.
                if judged.0 == Verdict::Sign {
                    state.spent += 1;
                }
                judged
            };
            let answer = self.answer(verdict, &mut request, &mut agent, &frame).await;
            if self.lock().closed {
                return Ok(());
            }
            self.record(request);
            write_frame(&mut client, &answer).await?;
        }
    }

    /// Has a request answered, and notes what came of it.
    async fn answer(
        &self,
        verdict: Verdict,
        request: &mut AgentRequest,
        agent: &mut Agent,
        frame: &[u8],
    ) -> Vec<u8> {
        let refusal = vec![FAILURE];
        if verdict == Verdict::Refuse {
            return refusal;
        }
        if verdict == Verdict::Sign
            && let Err(why) = self.confirmed(request).await
        {
            request.answer = "refused";
            request.why = Some(why);
            return refusal;
        }
        // The question took its time.
        if self.lock().closed {
            return refusal;
        }
        let answer = match agent.ask(&self.upstream, frame).await {
            Ok(answer) => answer,
            Err(why) => {
                request.answer = "failed";
                request.why = Some(why);
                return refusal;
            }
        };
        let kind = answer.first().copied().unwrap_or(FAILURE);
        let wanted = match verdict {
            Verdict::List => IDENTITIES,
            Verdict::Sign => SIGNATURE,
            Verdict::Bind | Verdict::Refuse => SUCCESS,
        };
        request.answer = "done";
        if verdict == Verdict::List && kind == wanted {
            if let Ok((filtered, shown, all)) = filter_list(&answer, &self.policy.keys) {
                request.why = Some(format!("{shown} of {all} keys shown"));
                return filtered;
            }
        } else if kind == wanted {
            return answer;
        }
        request.answer = "failed";
        request.why = Some("the agent did not do it".to_owned());
        if kind == EXTENSION_FAILURE { vec![EXTENSION_FAILURE] } else { refusal }
    }

    /// Whether the user agrees, if they want to be asked.
    async fn confirmed(&self, request: &AgentRequest) -> Result<(), String> {
        let Some(confirm) = self.confirm.clone() else { return Ok(()) };
        let _one_at_a_time = self.asking.lock().await;
        if self.lock().unanswered {
            return Err("an earlier question was not answered".to_owned());
        }
        match tokio::time::timeout(QUESTION, confirm(request)).await {
            Ok(true) => Ok(()),
            Ok(false) => Err("it was not confirmed".to_owned()),
            Err(_) => {
                // Whatever is typed from now on goes to that question.
                self.lock().unanswered = true;
                Err(format!("it was not confirmed within {} s", QUESTION.as_secs()))
            }
        }
    }

    /// Records a request and reports it; of too many, the last one says so.
    fn record(&self, mut request: AgentRequest) {
        {
            let mut state = self.lock();
            if state.closed || state.requests.len() >= REQUESTS {
                return;
            }
            if state.requests.len() + 1 == REQUESTS {
                let why = format!("{REQUESTS} requests are the limit; no more are answered");
                request = AgentRequest { answer: request.answer, ..refused(request.asked, why) };
            }
            state.requests.push(request.clone());
        }
        (self.on_request)(&request);
    }
}

fn refused(asked: &'static str, why: String) -> AgentRequest {
    AgentRequest { asked, answer: "refused", why: Some(why), ..AgentRequest::default() }
}

/// One connection to the user's agent, made when it is first needed. Once lost it is not made again: its sessions would be
/// missing.
#[derive(Default)]
enum Agent {
    #[default]
    Unasked,
    Open(UnixStream),
    Lost,
}

impl Agent {
    async fn ask(&mut self, upstream: &Upstream, frame: &[u8]) -> Result<Vec<u8>, String> {
        let mut stream = match std::mem::replace(self, Self::Lost) {
            Self::Unasked => UnixStream::connect(&upstream.socket)
                .await
                .map_err(|error| format!("the agent cannot be reached: {error}"))?,
            Self::Open(stream) => stream,
            Self::Lost => return Err("the agent was lost before".to_owned()),
        };
        let exchange = async {
            write_frame(&mut stream, frame).await?;
            read_frame(&mut stream).await
        };
        match tokio::time::timeout(upstream.patience, exchange).await {
            Ok(Ok(answer)) => {
                *self = Self::Open(stream);
                Ok(answer)
            }
            Ok(Err(error)) => Err(format!("the agent was lost: {error}")),
            Err(_) => {
                Err(format!("the agent gave no answer within {} s", upstream.patience.as_secs()))
            }
        }
    }
}

/// A frame without its length.
async fn read_frame(from: &mut UnixStream) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if !(1..=FRAME_LIMIT).contains(&length) {
        let text = format!("a frame of {length} bytes; the limit is {FRAME_LIMIT}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut frame = vec![0; length];
    from.read_exact(&mut frame).await?;
    Ok(frame)
}

/// Length and frame in one write: some agents and clients want them so.
async fn write_frame(to: &mut UnixStream, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(frame);
    to.write_all(&bytes).await
}
