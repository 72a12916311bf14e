//! What an operator allows, of what a leader makes of requests.

/// What a leader allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// `zookeeper.extendedTypesEnabled`: TTL nodes may be made.
    pub extended_types: bool,
    /// `zookeeper.enforceQuota`: creates and changes of data are compared with quotas.
    pub enforce_quota: bool,
    /// `zookeeper.skipACL`: everybody may do everything. What a client wants to store as a list is judged all the same.
    pub skip_acl: bool,
    /// `zookeeper.closeSessionTxn.enabled`: the end of a session lists its ephemeral nodes. Servers before 3.6 do not know such a list;
    /// whoever applies the transaction finds them without it, too.
    pub lists_closed: bool,
    /// The longest transaction, bytes: `jute.maxbuffer` and what ZooKeeper adds for its own records.
    pub entry_bytes_max: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            extended_types: false,
            enforce_quota: false,
            skip_acl: false,
            lists_closed: true,
            entry_bytes_max: 2 * 0xf_ffff,
        }
    }
}
