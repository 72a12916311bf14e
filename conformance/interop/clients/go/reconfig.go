package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-zookeeper/zk"
)

// Of these the client has no names.
const (
	newConfigNoQuorum  = "unknown error: -13"
	reconfigInProgress = "unknown error: -14"
)

const configNode = "/zookeeper/config"

// What a client sees of the members.
type list struct {
	text    string
	version int64
	stat    *zk.Stat
}

func parsed(data []byte, stat *zk.Stat) list {
	text, version, found := strings.Cut(string(data), "\nversion=")
	number, err := strconv.ParseInt(version, 16, 64)
	check(found && err == nil, "the list is %q", data)
	return list{text, number, stat}
}

func listOf(conn *zk.Conn) list {
	data, stat, err := conn.Get(configNode)
	must(err, "get the list")
	return parsed(data, stat)
}

func watch(conn *zk.Conn) (list, <-chan zk.Event) {
	data, stat, events, err := conn.GetW(configNode)
	must(err, "get the list with a watch")
	return parsed(data, stat), events
}

func sorted(members ...string) string {
	members = slices.Clone(members)
	slices.Sort(members)
	return strings.Join(members, "\n")
}

// The list has these members, and the Stat is that of its node.
func shows(seen list, members ...string) {
	check(seen.text == sorted(members...), "the list is %q and should be %q", seen.text, sorted(members...))
	isOfNode(seen.stat, seen.version)
	length := len(seen.text) + len("\nversion=") + len(strconv.FormatInt(seen.version, 16))
	check(int(seen.stat.DataLength) == length, "the Stat of %d bytes is %+v", length, seen.stat)
}

// The time of the last change is another one on each of ZooKeeper's servers.
func isOfNode(stat *zk.Stat, version int64) {
	want := zk.Stat{Mzxid: version, Mtime: stat.Mtime, Version: -1, Aversion: -1, DataLength: stat.DataLength}
	check(*stat == want, "the Stat is %+v and should be %+v", *stat, want)
}

func id(member string) string {
	name, _, _ := strings.Cut(member, "=")
	return strings.TrimPrefix(name, "server.")
}

func clientAddress(member string) string {
	_, address, _ := strings.Cut(member, ";")
	return address
}

func without(members []string, gone string) []string {
	return slices.DeleteFunc(slices.Clone(members), func(member string) bool { return member == gone })
}

func as(password string, servers ...string) *zk.Conn {
	conn := connect(servers)
	must(conn.AddAuth("digest", []byte("super:"+password)), "add authentication")
	return conn
}

// Each of these servers comes to show this list.
func shownBy(servers []string, members ...string) {
	for _, server := range servers {
		conn := connect([]string{server})
		again(server+" shows "+sorted(members...), func() error {
			if _, err := conn.Sync(configNode); err != nil {
				return err
			}
			data, _, err := conn.Get(configNode)
			if err == nil && parsed(data, nil).text != sorted(members...) {
				err = fmt.Errorf("it shows %q", data)
			}
			return err
		})
		shows(listOf(conn), members...)
		conn.Close()
	}
}

// Changes the members although leaders come and go meanwhile: an answer may be lost, and who just came may not be ready.
func settle(conn *zk.Conn, members []string, change func() error) {
	again("the members "+sorted(members...), func() error {
		data, _, err := conn.Get(configNode)
		if err != nil || parsed(data, nil).text == sorted(members...) {
			return err
		}
		err = change()
		if err == nil {
			return errors.New("it has been answered, and will be looked at")
		}
		lost := errors.Is(err, zk.ErrConnectionClosed) || errors.Is(err, zk.ErrNoServer) || errors.Is(err, zk.ErrSessionExpired)
		known := err.Error() == newConfigNoQuorum || err.Error() == reconfigInProgress
		check(lost || known, "reconfig: %v", err)
		return err
	})
}

// These changes are refused and change nothing.
func refusals(conn *zk.Conn, server string, members []string, joiner string, version int64) {
	joining := []string{joiner}
	away := []string{"server.7=127.0.0.1:7:17;27", "server.8=127.0.0.1:8:18;28", "server.9=127.0.0.1:9:19;29"}
	nobody, wrong := connect([]string{server}), as("wrong", server)
	change := func(conn *zk.Conn, joining, leaving []string, version int64) error {
		_, err := conn.IncrementalReconfig(joining, leaving, version)
		return err
	}
	whole := func(members []string, version int64) error {
		_, err := conn.Reconfig(members, version)
		return err
	}
	refused(change(nobody, joining, nil, -1), zk.ErrNoAuth, "reconfig without rights")
	refused(change(wrong, joining, nil, -1), zk.ErrNoAuth, "reconfig with a wrong password")
	refused(change(conn, joining, nil, version+1), zk.ErrBadVersion, "reconfig from a version to come")
	refused(whole(members, version-1), zk.ErrBadVersion, "a whole list from an old version")
	refused(change(conn, []string{"some thing"}, nil, -1), zk.ErrBadArguments, "reconfig with nonsense")
	refused(change(conn, []string{"server.9=127.0.0.1:1:2"}, nil, -1), zk.ErrBadArguments, "a joiner without a port for clients")
	refused(whole([]string{"some thing"}, -1), zk.ErrBadArguments, "a whole list of nonsense")
	refused(change(conn, nil, []string{id(members[1]), id(members[2])}, -1), zk.ErrBadArguments, "a list of one")
	for _, err := range []error{whole(away, -1), change(conn, away, []string{id(members[0])}, -1)} {
		check(err != nil && err.Error() == newConfigNoQuorum, "a list without a quorum: answered %v", err)
	}
	check(listOf(conn).version == version, "a refused change has changed the version")
	nobody.Close()
	wrong.Close()
}

// Carries out a change: the answer is the Stat of the list that the watch tells of.
func changed(watcher *zk.Conn, members []string, change func() (*zk.Stat, error)) int64 {
	_, events := watch(watcher)
	stat, err := change()
	must(err, "change the members to "+sorted(members...))
	fires(events, zk.EventNodeDataChanged, configNode)
	seen := listOf(watcher)
	shows(seen, members...)
	isOfNode(stat, seen.version)
	return seen.version
}

func changes(conn, watcher *zk.Conn, servers, members []string, joiner, follower string) {
	all := append(slices.Clone(members), joiner)
	everybody := append(slices.Clone(servers), clientAddress(joiner))
	joining, leaving := []string{joiner}, []string{id(joiner)}
	before := listOf(conn).version
	version := changed(watcher, members, func() (*zk.Stat, error) { return conn.IncrementalReconfig(nil, nil, -1) })
	check(version > before, "the version is %x behind %x", version, before)
	version = changed(watcher, all, func() (*zk.Stat, error) { return conn.IncrementalReconfig(joining, nil, version) })
	shownBy(everybody, all...)
	_, err := conn.IncrementalReconfig(nil, leaving, before)
	refused(err, zk.ErrBadVersion, "reconfig from an old version")
	changed(watcher, members, func() (*zk.Stat, error) { return conn.IncrementalReconfig(nil, leaving, version) })

	// One comes for another: the answer is that of the server that goes, and its clients stay.
	atFollower := as("secret", clientAddress(follower))
	session, others := atFollower.SessionID(), without(all, follower)
	changed(watcher, others, func() (*zk.Stat, error) {
		return atFollower.IncrementalReconfig(joining, []string{id(follower)}, -1)
	})
	_, _, err = atFollower.Exists("/")
	must(err, "read from the server that has gone")
	check(atFollower.SessionID() == session, "the session is %#x and was %#x", atFollower.SessionID(), session)
	atFollower.Close()

	// The whole list, which does not look at the one before.
	version = changed(watcher, members, func() (*zk.Stat, error) { return conn.Reconfig(members, -1) })
	watching := append(slices.Clone(members), strings.Replace(joiner, ":participant", ":observer", 1))
	version = changed(watcher, watching, func() (*zk.Stat, error) { return conn.Reconfig(watching, version) })
	shownBy(everybody, watching...)
	changed(watcher, members, func() (*zk.Stat, error) { return conn.Reconfig(members, version) })
	shownBy(servers, members...)
}

// What users do with the members of an ensemble: read and watch the list, and change it in every way that there is. At the end the
// members are those of the beginning.
//
// The arguments are the connect string of three members; their lines `server.N=…`, parted by commas; the line of a server that runs and
// is no member; the id of who leads; and a server without reconfigEnabled. `super:secret` has all rights.
func reconfigure(arguments []string) {
	servers, members := strings.Split(arguments[0], ","), strings.Split(arguments[1], ",")
	joiner, leader, disabled := arguments[2], arguments[3], arguments[4]
	conn, watcher := as("secret", servers...), connect(servers[2:])
	// The first list gets its version behind the first election.
	again("the list has a version", func() error {
		if listOf(conn).version == 0 {
			return errors.New("it has none")
		}
		return nil
	})
	first := listOf(conn)
	shows(first, members...)
	refusals(conn, servers[0], members, joiner, first.version)
	isLeader := func(member string) bool { return id(member) == leader }
	ofLeader := members[slices.IndexFunc(members, isLeader)]
	others := without(members, ofLeader)
	changes(conn, watcher, servers, members, joiner, others[0])

	settle(conn, others, func() error { _, err := conn.IncrementalReconfig(nil, []string{leader}, -1); return err })
	again("a write without the leader", func() error {
		_, err := conn.Create("/go-reconfig-", nil, zk.FlagSequence, all)
		return err
	})
	settle(conn, members, func() error { _, err := conn.IncrementalReconfig([]string{ofLeader}, nil, -1); return err })
	shownBy(servers, members...)

	off := as("secret", disabled)
	_, err := off.IncrementalReconfig([]string{joiner}, nil, -1)
	refused(err, zk.ErrReconfigDisabled, "reconfig where it is disabled")
	fmt.Println("done")
}
