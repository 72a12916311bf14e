//! The table: cause, what it means for clients and data, remedy and an example, for each code.

use super::{Meaning, codes};

codes! {
    LogFilterUnknown 101 "ZABRA_LOG is no filter, or ZABRA_LOG_FORMAT no form" {
        "The variable ZABRA_LOG has a value that is neither a level nor a filter of the log, or ZABRA_LOG_FORMAT is neither text nor json."
        "None: the log is written as if the variable were not set, from info on."
        "Set the first to error, warn, info, debug or trace, or to levels by module, with commas between them; the second to text or json."
        "ZABRA_LOG=info,zabra::storage=debug zabra serve zoo.cfg"
    }
    FewDescriptors 102 "the limit of open files is lower than maxCnxns" {
        "The system lets this process open fewer files than maxCnxns allows clients."
        "Clients beyond the limit are refused earlier than zoo.cfg says; data is not concerned."
        "Raise the limit of open files of the service, or lower maxCnxns."
        "LimitNOFILE=65536 in the unit of systemd, or ulimit -n 65536 before zabra serve"
    }
    EmptyMember 103 "a member of an ensemble begins without data" {
        "The data directory is empty: the member is new, its disk was lost, or dataDir names another directory than before."
        "It votes as one that has acknowledged nothing. If it had data and others have lost theirs, too, acknowledged writes may be lost."
        "If it is new, nothing. If not, stop it and correct dataDir; db.autocreate=false refuses such a start from then on."
        "db.autocreate=false in zoo.cfg, and zabra initialize --configfile zoo.cfg --myid 3 for a member that is new"
    }
    MarkNotRemoved 104 "the file initialize could not be removed" {
        "The file that lets a member begin without data has done its work, and the system does not let it be removed."
        "None now. If the data is lost later, the next start would take the member for a new one."
        "Remove the file by hand, and let the user of the service write in the directory."
        "rm /var/lib/zookeeper/initialize"
    }
    LimitNotRaised 105 "the limit of open files could not be raised" {
        "The system refuses to raise the soft limit of open files of this process to its hard limit."
        "Fewer clients may connect at a time; data is not concerned."
        "Raise the limit where the service is started."
        "LimitNOFILE=65536 in the unit of systemd"
    }
    KeyUnused 106 "a line of the configuration has no effect" {
        "The key is one of Java's that has no counterpart here, or one that nobody knows: perhaps a slip of the hand."
        "What the line asks for is not there. A key of security would have refused the start."
        "Read what the key does, and correct or remove the line."
        "zabra config explain KEY; zabra config check zoo.cfg"
    }
    ConfigNote 107 "a setting is odd" {
        "Lines of the configuration say something that is allowed and seldom meant, such as an even number of voters."
        "As the line tells; the server runs with the setting that it names."
        "Look at all settings and what becomes of them."
        "zabra config check zoo.cfg"
    }
    ContainerNote 108 "a variable of the container is odd" {
        "A variable of the environment is not used, or means something else than in the image that it comes from."
        "As the line tells; the server runs with the zoo.cfg that was written."
        "Print the zoo.cfg that the variables make, and correct them."
        "zabra container --print"
    }
    ElectionAccept 201 "the election port takes no connection" {
        "The system refuses to accept a connection on the election port: mostly there are no file descriptors or no memory left."
        "Members with a smaller id do not reach this one, so an election may take long. Running sessions go on."
        "Look at the limit of open files of this process and at the machine's memory."
        "ls /proc/$(pgrep -x zabra)/fd | wc -l; grep 'open files' /proc/$(pgrep -x zabra)/limits"
    }
    ElectionListen 202 "the election port cannot be listened on yet" {
        "After a change of members the new address of this server cannot be bound: another process has it, or no interface does."
        "The server goes on; members that dial the new address do not reach it."
        "Free the port, or correct this server's line by another reconfiguration."
        "ss -ltnp 'sport = :3888'"
    }
    QuorumAccept 203 "the quorum port takes no connection" {
        "The system refuses to accept a connection on the quorum port: mostly there are no file descriptors or no memory left."
        "Learners cannot connect to this leader. Without a quorum of them it gives up, and clients wait for an election."
        "Look at the limit of open files of this process and at the machine's memory."
        "LimitNOFILE=65536 in the unit of systemd"
    }
    NoDelay 204 "TCP_NODELAY cannot be set" {
        "The system refuses an option of a connection between servers."
        "Small packets may wait some ms, so writes take longer. Nothing is lost."
        "Look at the system and its sandbox; if it goes on, report it."
        "strace -f -e trace=setsockopt -p $(pgrep -x zabra)"
    }
    LeaderStays 205 "a leader has said that it leaves, and has not" {
        "The leader was to stop and hand over, and still leads: its stop takes long, or hangs."
        "Requests that waited for the next leader are sent to this one; clients notice a pause."
        "Look at the log of the leader and whether its process still stops."
        "zabra status zoo.cfg on the leader's machine"
    }
    BadRevalidate 206 "a learner asks about a session and names none" {
        "A packet REVALIDATE without a session came from a learner: a fault of that server, or a stranger at the quorum port."
        "The client whose session it is reconnects. Data is not concerned."
        "Find out who is behind the link; let only the servers reach the ports between them."
        "sslQuorum=true in zoo.cfg of all members"
    }
    ProtocolRefused 207 "a packet of another server is refused" {
        "The peer has said something that the protocol does not allow now: a connection that was late, another version, or a fault. The field fault says what."
        "The connection to that server ends and is made again. One such line around an election is harmless; data is safe in any case."
        "If it repeats, look at the log of the other server at the same time, and at what both have recorded."
        "zabra explain --elections /data1 /data2 /data3"
    }
    TooManyGuests 208 "too many learners that no list of members has" {
        "Servers that are in no list of members connect to the leader as observers, more than are let in."
        "The one in the line is not let in. Members are not concerned."
        "Add servers that are to stay by reconfig, and stop the others."
        "zabra shell reconfig -add 'server.4=HOST:2888:3888:observer;2181'"
    }
    LearnerTurnedAway 209 "a learner is not let in" {
        "A server names an id that another one holds, or comes from an address that is not that member's. The line says which."
        "That server serves nobody until it is let in."
        "Give each server its own myid, and see that names of members resolve to their addresses."
        "cat /var/lib/zookeeper/myid; getent hosts zoo2"
    }
    LinkGivesWay 210 "a link of a learner gives way to a newer one" {
        "A server has connected again before this leader had noticed that its old connection was gone: it was restarted, or the network was cut."
        "None: the server is brought up over the new connection."
        "Nothing, if the server was restarted. If it repeats, look whether two servers have the same myid."
        "cat /var/lib/zookeeper/myid on each server"
    }
    LearnerBehind 211 "a learner does not fetch what is sent to it" {
        "Proposals for a learner have filled its share of memory: its disk, its processor or the network to it is slower than the writes."
        "Its connection is closed, and it comes back when it can. A quorum is there without it, so nothing waits and nothing is lost."
        "Look at the disk and the network of that learner."
        "zabra doctor zoo.cfg on that machine"
    }
    SlowSync 301 "a sync of the transaction log was slow" {
        "The system took longer than fsync.warningthresholdms for a sync of the log: the disk is busy, shared, or failing."
        "All writes wait for it, and above syncLimit a leader may be given up. Nothing is lost."
        "Give dataLogDir a disk of its own without other load; look at the disk's own errors."
        "zabra doctor zoo.cfg; iostat -x 1; dataLogDir=/fast/zookeeper-log in zoo.cfg"
    }
    DigestMismatch 302 "the tree has another digest than its snapshot tells" {
        "The server that wrote the snapshot had another tree than the one that was read here: one of the two is wrong."
        "This server may answer reads otherwise than the others."
        "In an ensemble, stop it, move its data away, and start it: it copies the leader's. Alone, go back to an older snapshot with its logs."
        "systemctl stop zookeeper; mv /data/version-2 /data/version-2.bad; systemctl start zookeeper"
    }
    NotPurged 303 "old snapshots and logs are not removed" {
        "autopurge is on, and a file could not be removed or read: mostly rights of the directory."
        "The disk fills up. Clients notice nothing before it is full."
        "Let the user of the service own the directories, and look at what the line names."
        "chown -R zookeeper: /var/lib/zookeeper; zabra cleanup zoo.cfg -n 3 of a stopped server"
    }
    HistoryMissing 304 "a learner needs transactions that cannot be read" {
        "A log file that a learner needs is gone or damaged: perhaps it was removed by hand."
        "That learner cannot be brought up by this leader. The others go on."
        "Restart this server: it then begins with its newest snapshot, which the learner is sent. Leave removing files to autopurge."
        "autopurge.snapRetainCount=3 and autopurge.purgeInterval=24 in zoo.cfg"
    }
    HighWaterNotWritten 305 "the mark of what is durable is not written any more" {
        "The file zabra.durable beside the logs cannot be written."
        "None while the server runs. After a crash, a damage behind the last mark is taken for a torn end, so it would not be told."
        "Look at the disk and at the rights of the directory, then restart the server."
        "ls -l /var/lib/zookeeper/version-2; zabra doctor zoo.cfg"
    }
    LogRepaired 306 "the end of a log was repaired" {
        "The last process ended while it wrote: what lies behind the last whole transaction was cut off and kept aside."
        "None: what is cut off was acknowledged to nobody."
        "Nothing. If it happens without a crash or a power cut, look at the disk."
        "zabra log /var/lib/zookeeper/version-2; zabra doctor zoo.cfg"
    }
    ProcessIdNotWritten 307 "the process id of this server cannot be written" {
        "The file in the data directory that says whose it is cannot be written."
        "None for clients. Tools and a second server cannot say which process has the directory."
        "Let the user of the service write in dataDir, and look whether the disk is full."
        "ls -ld /var/lib/zookeeper; df -h /var/lib/zookeeper"
    }
    NoLocks 308 "the file system has no locks" {
        "The file system of the data directory knows no locks, as some that are mounted over a network."
        "Nothing keeps a second server from the same files, which would damage them."
        "Put the data on a local file system, and see that only one server is started with it."
        "findmnt -T /var/lib/zookeeper"
    }
    SnapshotFailed 309 "no snapshot could be written" {
        "Writing a snapshot failed: the disk is full, or its directory cannot be written."
        "Clients are not held up. The log grows, and the next start takes longer."
        "Make room or correct the rights; it is tried again by itself."
        "df -h /var/lib/zookeeper; curl -s http://localhost:8080/commands/last_snapshot"
    }
    SnapshotNotHere 310 "a snapshot is to be installed that was not received" {
        "A fault of this server: its parts do not agree on what came from the leader."
        "This server does not come up as a learner. The others go on."
        "Restart it, and report the fault with what was recorded."
        "zabra explain --elections /var/lib/zookeeper"
    }
    DiskFull 311 "no space is left on the disk" {
        "A write of the log or of a snapshot found no room."
        "Writes are refused until there is room; reads go on. A leader hands over to a member that has room. Nothing that was acknowledged is lost."
        "Make room on the disk that the line names: the server goes on by itself. Remove no file of version-2 by hand."
        "df -h; autopurge.purgeInterval=1 in zoo.cfg"
    }
    TooManyConnections 401 "too many connections" {
        "One address has maxClientCnxns connections, or all together have maxCnxns."
        "New connections are closed at once; those that there are go on."
        "Find the client that opens so many, or raise the bound."
        "echo cons | nc localhost 2181; maxClientCnxns=200 in zoo.cfg"
    }
    ClientAccept 402 "the client port takes no connection" {
        "The system refuses to accept a connection: mostly there are no file descriptors or no memory left."
        "New clients do not get in; those that are connected go on."
        "Raise the limit of open files of this process, or lower maxCnxns."
        "LimitNOFILE=65536 in the unit of systemd"
    }
    TooFast 403 "clients come too fast" {
        "More clients connect than zookeeper.connection_throttle_tokens lets in, as after an outage."
        "They are closed, and come again by themselves: that is what the key is for."
        "Nothing, unless it does not end. Then raise the rate, or find who reconnects without a pause."
        "zabra config explain zookeeper.connection_throttle_fill_time"
    }
    UnreadTooMuch 404 "clients leave too much unread" {
        "Answers to clients that do not read them fill the memory that zabra.unreadBytesMax gives to all of them."
        "The client with most of it is closed. Its session goes on if it reconnects."
        "Find out why that client does not read: it hangs, or asks for more than it can take."
        "echo cons | nc localhost 2181"
    }
    WatchesTooMuch 405 "watches hold too much memory" {
        "Watches of all clients hold more than zabra.watchBytesMax."
        "The client with most of it is closed, and its watches with it; clients set them again when they reconnect."
        "Find the client, and let it use one persistent recursive watch in place of many."
        "curl -s http://localhost:8080/commands/watch_summary"
    }
    QuotaExceeded 406 "a quota is exceeded" {
        "A write takes a subtree over its number of nodes or bytes. A soft quota is told; a hard one, with enforceQuota, refuses."
        "By a soft quota, none. By a hard one the client gets QuotaExceeded."
        "Remove nodes below the path, or raise its quota."
        "zabra shell listquota /app; zabra shell setquota -n 10000 /app"
    }
    NumbersNearEnd 407 "a node runs out of numbers for sequential children" {
        "So many sequential nodes were created below one node that their ten digits end soon."
        "At the end creates of sequential nodes there are refused. Other nodes are not concerned."
        "Use another parent node for the clients in question: its numbers begin at 0."
        "zabra shell stat /app/queue, its cversion"
    }
    Stalled 408 "this server took no turn for long" {
        "The process was stopped, or had no time: a suspended machine, a debugger, an overloaded host."
        "No session is ended by that: all get their full timeouts again. Clients noticed a pause."
        "Look at the load of the machine, at steal time of a virtual one, and at memory that is swapped."
        "vmstat 1; zabra doctor zoo.cfg"
    }
    SlowRequest 409 "a request was slow" {
        "From when it was read to its answer it took longer than zabra.slowRequestMs. The stages say where: queue, propose, sync, quorum, apply."
        "The client waited. Nothing is wrong with its data."
        "Look at the largest stage: queue and apply at this process, propose at the leader, sync at this disk, quorum at the others'."
        "zabra.slowRequestMs=200 in zoo.cfg; curl -s http://localhost:8080/commands/monitor"
    }
    CipherUnknown 501 "a cipher suite is not spoken here" {
        "ssl.ciphersuites or ssl.quorum.ciphersuites names one that this server does not have, mostly an old one."
        "It is left out; the others are used. Peers that know only this one cannot connect."
        "Remove it from the list, and see that all sides have one of the others."
        "ssl.ciphersuites=TLS_AES_128_GCM_SHA256,TLS_AES_256_GCM_SHA384"
    }
    StoresNotRead 502 "changed stores of TLS cannot be used" {
        "The files of keys and certificates have changed, and what is in them now does not fit: half written, another password, key and certificate of two."
        "New connections are taken with the stores from before, until their certificates end. Nothing else changes."
        "Put both files in place whole; they are read again by themselves."
        "openssl x509 -in server.pem -noout -dates -subject"
    }
    StoresFault 503 "reading the stores of TLS met a fault" {
        "A fault of this server at what is in the files."
        "As before the change: the stores that were read last are used."
        "Write the stores in another format, PEM best, and report the fault."
        "ssl.keyStore.location=/etc/zookeeper/server.pem"
    }
    AuthorityUnfit 504 "a certificate that is trusted has ended, or not begun" {
        "An authority in the trust store is out of its time by the clock of this machine."
        "Nobody is let in by it: peers whose certificates it has signed are refused."
        "Put the new authority into the store, or correct the clock."
        "openssl x509 -in ca.pem -noout -dates; date"
    }
    CommandRefused 505 "a command over HTTP was refused" {
        "Somebody has asked for a guarded command without the right to, too often, or with a body that cannot be used. The line says what."
        "None: nothing was changed."
        "Send who you are by digest or from an address that has every right on /, and wait for the interval."
        "curl -H 'Authorization: digest super:secret' http://localhost:8080/commands/snapshot?streaming=true -o snapshot"
    }
    ConnectionRefused 506 "a connection to a port between servers was refused" {
        "Somebody who is not a member, or does not prove that he is, has connected to the quorum or election port. The line says why."
        "None, if it is a stranger. A member that is refused serves nobody."
        "If it is a member: its certificate, password or address is not what this server expects."
        "getent hosts zoo2; openssl s_client -connect zoo2:3888"
    }
    OpenPorts 507 "the ports between servers are open to strangers" {
        "Neither TLS nor SASL nor an address guards the ports between the servers, as in ZooKeeper by default."
        "Whoever reaches them can read everything, and write in any client's name."
        "Let only the members reach these ports, or make them prove themselves."
        "sslQuorum=true with ssl.quorum.keyStore.location, or zabra.quorumFromMembersOnly=true, in zoo.cfg of all members"
    }
    UnprovedTaken 508 "a server does not prove itself, and is taken" {
        "A server has sent a wrong proof by SASL, and quorum.auth.serverRequireSasl is not true."
        "Its connection is taken as one without a proof."
        "Correct the password of that server; when all prove themselves, ask for it."
        "quorum.auth.serverRequireSasl=true in zoo.cfg of all members"
    }
    DialledNotTrusted 509 "a server that was dialled is not talked to" {
        "At the address of a member somebody answers whose certificate or proof is not what is expected. The line says why."
        "This server does not reach that member; with too few members there is no quorum."
        "Look at its certificate and its names, the authorities here, and its time; or at its password."
        "openssl s_client -connect zoo2:3888 -showcerts"
    }
    TlsClientRefused 510 "a client with TLS is refused" {
        "The handshake of a client failed: another authority, no certificate, another version of TLS, or no TLS at all."
        "That client is not connected. Others are not concerned."
        "Give the client the authority of the server, and, with ssl.clientAuth=need, a certificate of its own."
        "openssl s_client -connect localhost:2182 -CAfile ca.pem"
    }
    OtherEnsemble 511 "a client means another ensemble" {
        "A client says by the scheme ensemble which ensemble it expects, and it is no name of this one (ensembleAuthName)."
        "Its connection is closed, so that it does not write where it should not."
        "Correct the connect string of the client, or add the name here."
        "ensembleAuthName=east,west in zoo.cfg"
    }
    SuperNotBelieved 512 "a super user of a learner is not believed" {
        "A learner forwards a request of a super user, and this leader has none configured."
        "The request has the rights of the client's other identities."
        "Configure the super user on all members alike, or on none."
        "DigestAuthenticationProvider.superDigest=super:… in zoo.cfg; zabra digest super:secret"
    }
    SupervisorUntold 601 "the supervisor cannot be told" {
        "NOTIFY_SOCKET names a socket that takes nothing."
        "None for clients. The supervisor may take the server for one that does not start, and end it."
        "See that the service may write to the socket, or that the variable is not passed on."
        "Type=notify and NotifyAccess=main in the unit of systemd"
    }
    NoTurn 602 "no turn was taken for long" {
        "The task that owns the protocol has not run for longer than the watchdog waits: the machine has no time for it, or it hangs."
        "The supervisor will restart the server; an ensemble elects another leader."
        "Look at the load of the machine; if there is none, report it with what was recorded."
        "vmstat 1; zabra explain /var/lib/zookeeper"
    }
    NoSignal 603 "no signal can be waited for" {
        "The system does not let this process handle SIGTERM."
        "An orderly stop is not possible; kill -9 loses nothing that was acknowledged."
        "Stop it by SIGKILL, and look at the sandbox that it runs in."
        "kill -9 $(pgrep -x zabra)"
    }
    FlightNotWritten 604 "the flight recorder cannot be written" {
        "zabra.flight beside the data cannot be written: rights, or no room."
        "None for clients and data. zabra explain will lack what happens meanwhile."
        "Make room, or let the user of the service write in the directory."
        "df -h /var/lib/zookeeper; curl -H 'Authorization: digest super:secret' http://localhost:8080/commands/flight_recorder -o flight"
    }
    NoUsr1 605 "SIGUSR1 cannot be waited for" {
        "The system does not let this process handle SIGUSR1."
        "None. What is recorded is had over HTTP instead."
        "Use the command over HTTP."
        "curl -H 'Authorization: digest super:secret' http://localhost:8080/commands/flight_recorder -o flight"
    }
    AuditNotWritten 606 "the audit log cannot be written" {
        "The file of zabra.auditLog takes nothing: no room, or it was moved to where this process may not write."
        "Requests are answered as before; their lines are lost until it can be written."
        "Make room. The file is opened once: after moving it, restart the server."
        "df -h /var/log/zookeeper"
    }
    NoCommands 607 "there are no commands over HTTP" {
        "The port of commands over HTTP cannot be listened on: another process has it."
        "None for clients. Health checks and dashboards that ask this port get nothing."
        "Choose another port, or switch the commands off."
        "admin.serverPort=8081 in zoo.cfg, or admin.enableServer=false"
    }
    OldList 701 "zoo.cfg has an older list of members" {
        "The members in zoo.cfg or its dynamic file are older than those that this server has activated: the file was copied or restored."
        "None: the newer list counts."
        "See which one counts, and correct the file, so that tools do not read the old one."
        "zabra shell get /zookeeper/config"
    }
    MemberFilesNotWritten 702 "the files of members cannot be written" {
        "zoo.cfg or its dynamic file cannot be written, mostly because it is mounted for reading only."
        "None: the server goes by the list that it keeps with its data."
        "Let the user of the service write beside zoo.cfg, or leave it: tools that read the file see an old list."
        "ls -ld $(dirname /etc/zookeeper/zoo.cfg)"
    }
    ListElsewhere 703 "zoo.cfg does not say where the members stand" {
        "The members are neither in zoo.cfg nor in a file that it names, so this server does not change it."
        "None: the list that is kept with the data counts."
        "Name the dynamic file, or leave it as it is."
        "dynamicConfigFile=/etc/zookeeper/zoo.cfg.dynamic in zoo.cfg"
    }
    ReconfigRefused 704 "a reconfiguration is refused" {
        "A client asked for another list of members, and it cannot be had: no right, another version, no quorum of the new voters. The line says why."
        "None: the list stays as it was."
        "Start the new servers first, and ask as who may write /zookeeper/config."
        "zabra shell addauth digest super:secret; reconfig -add 'server.4=HOST:2888:3888;2181'"
    }
    UnknownListActive 705 "the leader's tree shows a list of members that nobody has told" {
        "A leader sends a tree whose list of members no member has told of as its own."
        "This server does not follow it, and looks for a leader again. It serves nobody meanwhile."
        "If it does not end, look which server the leader is, and whether it is of this ensemble."
        "zabra shell get /zookeeper/config on each server"
    }
    HistoryNotKept 901 "the history of the shell is not kept" {
        "The file of the shell's history cannot be written."
        "None for servers: lines that were typed are not there the next time."
        "Let the user write the file, or set HOME."
        "ls -l ~/.zabra_history"
    }
}
