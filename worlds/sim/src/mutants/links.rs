//! Mistakes of a ZMQ producer: between `zmq::ProducerStore` and `zmq::ProducerLink`.

use std::collections::BTreeMap;

use schema::Fields;
use zmq::{Outgoing, Receipt, RowId};

/// What changes on the way from a producer's store to its link.
#[derive(Clone, Debug)]
pub enum LinkLens {
    /// What was sent once is not sent again after a handshake, and counts as acknowledged.
    ResendSuppressed(BTreeMap<RowId, Option<Fields>>),
    /// Fields that are said once are said again with each row that is sent after a handshake.
    OneShotReplayed {
        /// What was asked for, by row.
        asked: BTreeMap<RowId, Fields>,
        /// There was a handshake, and nothing was sent since.
        is_fresh: bool,
    },
}

impl LinkLens {
    /// A handshake is done.
    pub fn up(&mut self) {
        match self {
            Self::ResendSuppressed(_) => {}
            Self::OneShotReplayed { is_fresh, .. } => *is_fresh = true,
        }
    }

    /// What is sent of these rows, and what counts as acknowledged without being sent.
    pub fn send(&mut self, mut rows: Vec<Outgoing>) -> (Vec<Outgoing>, Vec<Receipt>) {
        let mut receipts = Vec::new();
        match self {
            Self::ResendSuppressed(told) => rows.retain(|row| {
                let id = (row.table, row.key.clone());
                let is_known = told.get(&id) == Some(&row.fields);
                if is_known {
                    receipts.push((id, row.serial));
                } else {
                    told.insert(id, row.fields.clone());
                }
                !is_known
            }),
            Self::OneShotReplayed { asked, is_fresh } => {
                let is_fresh = std::mem::take(is_fresh);
                for row in &mut rows {
                    let id = (row.table, row.key.clone());
                    let Some(fields) = &mut row.fields else {
                        asked.remove(&id);
                        continue;
                    };
                    if is_fresh {
                        asked.get(&id).into_iter().for_each(|asked| fields.merge(asked));
                        continue;
                    }
                    let once = row.table.one_shot_fields();
                    let of_row = fields.iter().filter(|(name, _)| once.contains(name));
                    let of_row: Fields = of_row.map(|(name, value)| (name, value.clone())).collect();
                    // A field that is lowered was asked for all the same.
                    if of_row.iter().any(|(_, value)| value.as_bytes() == b"true") {
                        asked.insert(id, of_row);
                    }
                }
            }
        }
        (rows, receipts)
    }
}
