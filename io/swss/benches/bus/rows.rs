//! The rows of all scenarios: HA scopes as a DPU reports them, eight fields each.

use redis::Pipeline;
use redis::aio::MultiplexedConnection;
use schema::dpu_state_db::HaScopeState;
use schema::{AsicHaRole, AsicHaState, Db, Fields, Row};
use swss::testing::RedisServer;

/// How many commands a hand-written pipeline holds.
pub const PIPELINE: usize = 512;

/// A row that differs from round to round.
pub fn fields(round: usize) -> Fields {
    let state = HaScopeState {
        last_updated_time_s: i64::try_from(1_700_000_000 + round).ok(),
        ha_role: Some(AsicHaRole::Active),
        ha_role_start_time_s: Some(1_700_000_000),
        ha_state: Some(AsicHaState::Active),
        ha_state_start_time_s: Some(1_700_000_000),
        ha_term: Some(3),
        activate_role_pending: Default::default(),
        flow_reconcile_pending: Default::default(),
        brainsplit_recover_pending: Default::default(),
    };
    state.to_fields()
}

/// The key of a row.
pub fn key(at: usize) -> String {
    format!("haset{at}")
}

/// A bare connection to DPU_STATE_DB.
pub async fn connect(server: &RedisServer, config: redis::AsyncConnectionConfig) -> MultiplexedConnection {
    let index = Db::DpuStateDb.default_index();
    let url = format!("redis+unix://{}?db={index}&protocol=resp3", server.socket().display());
    let client = redis::Client::open(url).unwrap();
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

/// Empties all databases, so that no scenario carries the rows of the one before.
pub async fn flush(server: &RedisServer) {
    let mut connection = connect(server, redis::AsyncConnectionConfig::new()).await;
    let () = redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
}

/// Writes `count` rows by pipelines of `HSET`.
pub async fn hset(connection: &mut MultiplexedConnection, table: &str, count: usize, round: usize) {
    let fields = fields(round);
    for first in (0..count).step_by(PIPELINE) {
        let mut pipeline = Pipeline::new();
        for at in first..count.min(first + PIPELINE) {
            pipeline.cmd("HSET").arg(format!("{table}|{}", key(at)));
            for (name, value) in fields.iter() {
                pipeline.arg(name).arg(value.as_bytes());
            }
            pipeline.ignore();
        }
        let () = pipeline.query_async(connection).await.unwrap();
    }
}
