//! Four-letter words: plain text as ZooKeeper prints it, for people and for tools that parse it.

use super::facts::{
    self, ConnFacts, Facts, NOT_SERVING, TRACE_MASK, VERSION, mode_name, peer_state, ports,
};
use super::{environment, metrics, sessions, watches};
use crate::client::shared::{Mode, Shared};
use crate::wire::four_letter::FourLetter;
use std::fmt::Write;

/// The whole answer.
#[must_use]
pub fn answer(word: FourLetter, shared: &Shared) -> String {
    if word == FourLetter::TelnetInterrupt {
        return String::new();
    }
    let name = word.word();
    if !shared.config.whitelist.has(name) {
        return format!("{name} is not executed because it is not in the whitelist.\n");
    }
    let mode = shared.mode();
    match word {
        FourLetter::Ruok => "imok".into(),
        FourLetter::Envi => environment::envi(VERSION),
        FourLetter::Isro => match mode {
            Mode::NotServing => "null".into(),
            Mode::ReadOnly => "ro".into(),
            Mode::Standalone | Mode::Follower | Mode::Observer | Mode::Leader => "rw".into(),
        },
        _ if mode == Mode::NotServing => format!("{NOT_SERVING}\n"),
        FourLetter::Conf => conf(shared),
        FourLetter::Srvr => srvr(shared, None),
        FourLetter::Stat => {
            let lines = facts::connections(shared).into_iter();
            let clients: String = lines.map(|conn| cons_line(&conn, true)).collect();
            srvr(shared, Some(&clients))
        }
        FourLetter::Mntr => mntr(shared),
        FourLetter::Cons => {
            let lines = facts::connections(shared).into_iter();
            let mut text: String = lines.map(|conn| cons_line(&conn, false)).collect();
            text.push('\n');
            text
        }
        FourLetter::Crst => {
            facts::reset_connections(shared);
            "Connection stats reset.\n".into()
        }
        FourLetter::Srst => {
            shared.stats.reset();
            "Server stats reset.\n".into()
        }
        FourLetter::Dirs => environment::dirs(&shared.config),
        FourLetter::Wchs => watches::summary(shared),
        FourLetter::Wchc => watches::by_session(shared),
        FourLetter::Wchp => watches::by_path(shared),
        FourLetter::Gtmk => TRACE_MASK.to_string(),
        FourLetter::Dump => sessions::dump(shared),
        FourLetter::Hash | FourLetter::Stmk => {
            format!("{name} is not available in this server.\n")
        }
        FourLetter::TelnetInterrupt => String::new(),
    }
}

fn cons_line(of: &ConnFacts, brief: bool) -> String {
    // ZooKeeper tells whether the connection is read on: that of a word is not.
    let reads = u8::from(of.session.is_some());
    let (queued, received, sent) = (of.queued, of.received, of.sent);
    let mut line = format!(
        " /{}[{reads}](queued={queued},recved={received},sent={sent}",
        of.conn.from
    );
    if let Some(session) = of.session.as_ref().filter(|_| !brief) {
        let _ = write!(
            line,
            ",sid=0x{:x},lop={},est={},to={}",
            session.id,
            session.last_operation,
            of.conn.since_ms,
            of.conn.timeout_ms()
        );
        if let Some(cxid) = session.cxid {
            let _ = write!(line, ",lcxid=0x{cxid:x}");
        }
        let _ = write!(
            line,
            ",lzxid=0x{:x},lresp={},llat={},minlat={},avglat={},maxlat={}",
            session.zxid.unwrap_or(u64::MAX),
            session.answered_ms,
            session.last_ms,
            session.min_ms,
            session.mean_ms,
            session.max_ms
        );
    }
    line + ")\n"
}

fn srvr(shared: &Shared, clients: Option<&str>) -> String {
    let facts = Facts::of(shared);
    let latency = facts.latency;
    let mut text = format!("Zookeeper version: {VERSION}\n");
    if facts.mode == Mode::ReadOnly {
        text.push_str("READ-ONLY mode; serving only read-only clients\n");
    }
    if let Some(clients) = clients {
        let _ = write!(text, "Clients:\n{clients}\n");
    }
    let _ = write!(
        text,
        "Latency min/avg/max: {}/{:?}/{}\nReceived: {}\nSent: {}\nConnections: {}\nOutstanding: {}\nZxid: {}\nMode: {}\nNode count: {}\n",
        latency.min(),
        latency.mean(),
        latency.max(),
        facts.received,
        facts.sent,
        facts.connections,
        facts.outstanding,
        facts.zxid,
        mode_name(facts.mode),
        facts.nodes,
    );
    if let Some([last, min, max]) = facts.proposals {
        let _ = writeln!(text, "Proposal sizes last/min/max: {last}/{min}/{max}");
    }
    text
}

fn mntr(shared: &Shared) -> String {
    let mut text = format!(
        "zk_version\t{VERSION}\nzk_server_state\t{}\n",
        mode_name(shared.mode())
    );
    if let Some(state) = peer_state(shared) {
        let _ = writeln!(text, "zk_peer_state\t{state}");
    }
    if shared.mode() == Mode::Observer
        && let Some(leader) = shared.stats.leader()
    {
        let _ = writeln!(text, "zk_observer_master_id\t{}", leader.0);
    }
    metrics::flat(&metrics::table(shared), |name, value| {
        let _ = writeln!(text, "zk_{name}\t{value}");
    });
    text
}

fn conf(shared: &Shared) -> String {
    let config = &shared.config;
    let (port, secure_port) = ports(config);
    let (data_bytes, log_bytes) = environment::sizes(config);
    let mut text = format!(
        "clientPort={port}\nsecureClientPort={secure_port}\ndataDir={}\ndataDirSize={data_bytes}\ndataLogDir={}\ndataLogSize={log_bytes}\ntickTime={}\nmaxClientCnxns={}\nminSessionTimeout={}\nmaxSessionTimeout={}\nclientPortListenBacklog=-1\nserverId={}\n",
        config.data_dir.join("version-2").display(),
        config.data_log_dir.join("version-2").display(),
        config.tick_ms,
        config.max_client_cnxns,
        config.min_session_ms,
        config.max_session_ms,
        if config.is_ensemble() { config.me.0 } else { 0 },
    );
    if let Some(own) = &config.own {
        let lists = shared.lists();
        let peer_type = u8::from(lists.observes(config.me));
        let _ = write!(
            text,
            "initLimit={}\nsyncLimit={}\nelectionAlg=3\nelectionPort={}\nquorumPort={}\npeerType={peer_type}\nmembership: \n{}",
            config.init_limit,
            config.sync_limit,
            own.election_port,
            own.quorum_port,
            lists.active.text(),
        );
    }
    text
}
