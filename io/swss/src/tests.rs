//! Small parts alone.

use crate::error::is_not_now;

#[test]
fn what_passes_is_told_from_what_stays() {
    let passing = [
        "LOADING Redis is loading the dataset in memory",
        "READONLY You can't write against a read only replica. script: 5f1c, on @user_script:10.",
        "-READONLY You can't write against a read only replica.",
        "ERR Error running script (call to f_5f1c): @user_script:1: -OOM command not allowed",
        "BUSY Redis is busy running a script.",
        "MISCONF Redis is configured to save RDB snapshots",
        "NOSCRIPT No matching script. Please use EVAL.",
    ];
    for text in passing {
        assert!(is_not_now(text), "{text}");
    }
    let staying = [
        "WRONGTYPE Operation against a key holding the wrong kind of value",
        "ERR unknown command 'X'",
        "NOPERM this user has no permissions to run the 'hset' command",
        "ERR DB index is out of range",
        "",
    ];
    for text in staying {
        assert!(!is_not_now(text), "{text}");
    }
}
