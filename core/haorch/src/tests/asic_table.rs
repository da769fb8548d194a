//! The SAI status table of `reference/dpu-side.md` 0.

use crate::{CallKind, SaiStatus, Verdict, verdict};

#[test]
fn every_status_of_every_call_has_its_verdict() {
    use SaiStatus::*;
    use Verdict::{Done, Failed, Gone};
    let table: &[(SaiStatus, Verdict, Verdict, Verdict)] = &[
        // status, create, set, remove
        // SONiC: remove is ok, and the object stays behind.
        (InsufficientResources, Failed, Failed, Failed),
        (TableFull, Failed, Failed, Failed),
        (NoMemory, Failed, Failed, Failed),
        (NvStorageFull, Failed, Failed, Failed),
        // SONiC: create is ok. Without an object it is not.
        (ObjectInUse, Failed, Done, Failed),
        // SONiC: set is ok. An object that is not there is made again.
        (ItemNotFound, Failed, Gone, Gone),
        (AddrNotFound, Failed, Gone, Gone),
        // SONiC: create is ok, and stores a null oid.
        (ItemAlreadyExists, Failed, Done, Failed),
        // SONiC: finished, result 0.
        (InvalidParameter, Failed, Failed, Failed),
        (NotSupported, Failed, Failed, Failed),
        (Failure, Failed, Failed, Failed),
    ];
    assert_eq!(table.iter().map(|row| row.0).collect::<Vec<_>>(), SaiStatus::ALL);
    for (status, create, set, remove) in table {
        assert_eq!(verdict(CallKind::Create, *status), *create, "create {status}");
        assert_eq!(verdict(CallKind::Set, *status), *set, "set {status}");
        assert_eq!(verdict(CallKind::Remove, *status), *remove, "remove {status}");
    }
}
