//! The Lua scripts. Their texts are private to this crate; their effects are SONiC's
//! (`reference/swss-wire.md` 3).

use redis::{ErrorKind, Pipeline, RedisError, RedisResult, Script, ServerErrorKind, Value};

use crate::link::{Link, pipeline_of};

/// How often scripts are loaded for one series of calls before that is given up.
const LOADS_MAX: usize = 3;

/// All scripts; loaded into the server at need, and again after it forgot them.
#[derive(Debug)]
pub(crate) struct Scripts {
    /// Takes what is pending for a consumer.
    pub(crate) pop: Script,
    /// Carries out writes.
    pub(crate) write: Script,
    /// Deletes every key, then flushes.
    pub(crate) delete_all: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            pop: Script::new(include_str!("lua/pop.lua")),
            write: Script::new(include_str!("lua/write.lua")),
            delete_all: Script::new(include_str!("lua/delete_all.lua")),
        }
    }
}

/// Calls `script` several times in order, all calls sent before the first is answered; calls that the server cannot
/// serve for now fail all.
///
/// If the server forgot the script, it is loaded, and the calls from the first that failed for it on are made again,
/// also those that were served because somebody else loaded it in between: so they must do no harm if made twice, and
/// what they leave behind is what the last ones say.
pub(crate) async fn invoke_all(
    script: &Script,
    link: &mut Link,
    mut calls: Pipeline,
) -> RedisResult<Vec<Value>> {
    let mut served = Vec::with_capacity(calls.len());
    for _ in 0..LOADS_MAX {
        let mut answers = link.answers(&calls).await?;
        let forgotten = answers.iter().position(is_forgotten);
        answers.truncate(forgotten.unwrap_or(answers.len()));
        for answer in answers {
            served.push(answer.extract_error()?);
        }
        let Some(first) = forgotten else { return Ok(served) };
        calls = pipeline_of(calls.cmd_iter().skip(first).cloned());
        script.load_async(link.connection()).await?;
    }
    Err((ErrorKind::Server(ServerErrorKind::NoScript), "the server keeps forgetting its scripts").into())
}

fn is_forgotten(answer: &Value) -> bool {
    let Value::ServerError(error) = answer else { return false };
    RedisError::from(error.clone()).kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}
