//! What Redis is asked to do in one step, and the keys that it does it to.
//!
//! Owns the scripts' texts and the names of the keys. What they do to entries, they do as a whole or not at all.

use redis::{Script, ScriptInvocation};

/// The keys under one prefix.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    /// Hash: id → line; and `tail` and `format`, which are no ids.
    pub(super) entries: String,
    /// Sorted set: id by end in milliseconds.
    pub(super) ends: String,
    /// Stream: every change.
    pub(super) changes: String,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        let name = |what: &str| format!("{prefix}:{what}");
        Self {
            entries: name("entries"),
            ends: name("ends"),
            changes: name("changes"),
        }
    }
}

/// The scripts, and the keys they work on.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) keys: Keys,
    pub(super) greet: Script,
    pub(super) changes: Script,
    pub(super) missing: Script,
    pub(super) sweep: Script,
    pub(super) revoke: Script,
    pub(super) restore: Script,
    pub(super) publish: Script,
}

impl Scripts {
    pub(super) fn new(prefix: &str) -> Self {
        let on_state =
            |text: &str| Script::new(&format!("{}\n{text}", include_str!("scripts/state.lua")));
        Self {
            keys: Keys::new(prefix),
            greet: Script::new(include_str!("scripts/greet.lua")),
            changes: Script::new(include_str!("scripts/changes.lua")),
            missing: Script::new(include_str!("scripts/missing.lua")),
            sweep: Script::new(include_str!("scripts/sweep.lua")),
            revoke: on_state(include_str!("scripts/revoke.lua")),
            restore: on_state(include_str!("scripts/restore.lua")),
            publish: on_state(include_str!("scripts/publish.lua")),
        }
    }

    /// All of them: Redis is to know them before they are needed, so that a change is one step there and back.
    pub(super) fn all(&self) -> [&Script; 7] {
        [
            &self.greet,
            &self.changes,
            &self.missing,
            &self.sweep,
            &self.revoke,
            &self.restore,
            &self.publish,
        ]
    }

    /// A call of one of them; arguments are for the caller to add.
    pub(super) fn call<'script>(&self, script: &'script Script) -> ScriptInvocation<'script> {
        let mut call = script.prepare_invoke();
        call.key(&self.keys.entries)
            .key(&self.keys.ends)
            .key(&self.keys.changes);
        call
    }
}
