// What users of go-zookeeper/zk do: every operation, watches, its lock, and a session that outlives the leader.
//
//	go run . HOST:PORT,HOST:PORT,…
//
// With more arguments the program changes the members instead: see reconfig.go; with `words` in front it reads what servers tell of
// themselves: see words.go.
//
// The program prints "ready" when its first half is done, waits for a line on its standard input while the test kills the
// leader, goes on with the same session, and prints "done". It exits with 1 and a sentence at the first wrong answer.
// With ZABRA_TLS=DIR it speaks TLS, with the files that `zabra tls init DIR` has written.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
)

const patience = 30 * time.Second

var all = zk.WorldACL(zk.PermAll)

func must(err error, what string) {
	if err != nil {
		fail("%s: %v", what, err)
	}
}

func fail(format string, parts ...any) {
	fmt.Printf("go-zookeeper: "+format+"\n", parts...)
	os.Exit(1)
}

func check(holds bool, format string, parts ...any) {
	if !holds {
		fail(format, parts...)
	}
}

func refused(got, want error, what string) {
	if !errors.Is(got, want) {
		fail("%s: answered %v, and should be refused with %v", what, got, want)
	}
}

type quiet struct{}

func (quiet) Printf(string, ...any) {}

// A dialler of TLS, with the files of this directory.
func byTLS(files string) zk.Dialer {
	own, err := tls.LoadX509KeyPair(files+"/client.pem", files+"/client.pem")
	must(err, "client.pem")
	authority, err := os.ReadFile(files + "/ca.pem")
	must(err, "ca.pem")
	roots := x509.NewCertPool()
	check(roots.AppendCertsFromPEM(authority), "ca.pem holds no certificate")
	config := &tls.Config{Certificates: []tls.Certificate{own}, RootCAs: roots}
	return func(network, address string, limit time.Duration) (net.Conn, error) {
		return tls.DialWithDialer(&net.Dialer{Timeout: limit}, network, address, config)
	}
}

func connect(servers []string) *zk.Conn {
	dial := net.DialTimeout
	if files := os.Getenv("ZABRA_TLS"); files != "" {
		dial = byTLS(files)
	}
	conn, events, err := zk.Connect(servers, 10*time.Second, zk.WithLogger(quiet{}), zk.WithDialer(dial))
	must(err, "connect")
	late := time.After(patience)
	for {
		select {
		case event := <-events:
			if event.State == zk.StateHasSession {
				go func() {
					for range events {
					}
				}()
				return conn
			}
		case <-late:
			fail("no session within %v", patience)
		}
	}
}

func fires(events <-chan zk.Event, kind zk.EventType, path string) {
	select {
	case event := <-events:
		check(event.Type == kind && event.Path == path, "the watch told %+v instead of %v of %s", event, kind, path)
	case <-time.After(patience):
		fail("the watch of %s never told %v", path, kind)
	}
}

// Requests fail while the client looks for another server; they are asked again, as every user of this client does.
func again(what string, ask func() error) {
	end := time.Now().Add(patience)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			fail("%s: still %v after %v", what, err, patience)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func operations(conn, other *zk.Conn) {
	created, err := conn.Create("/go", []byte("0"), 0, all)
	must(err, "create")
	check(created == "/go", "created %s", created)
	_, err = conn.Create("/go", nil, 0, all)
	refused(err, zk.ErrNodeExists, "create again")
	_, err = conn.Create("/none/child", nil, 0, all)
	refused(err, zk.ErrNoNode, "create without a parent")
	stat, err := conn.Set("/go", []byte("22"), 0)
	must(err, "set")
	check(stat.Version == 1 && stat.DataLength == 2, "the Stat of set is %+v", stat)
	_, err = conn.Set("/go", nil, 0)
	refused(err, zk.ErrBadVersion, "set of an old version")
	data, _, err := conn.Get("/go")
	must(err, "get")
	check(string(data) == "22", "got %q", data)
	path, err := conn.Sync("/go")
	must(err, "sync")
	check(path == "/go", "sync answered %q", path)

	for i := range 3 {
		path, err := conn.Create("/go/n-", nil, zk.FlagSequence, all)
		must(err, "create a sequential node")
		check(path == fmt.Sprintf("/go/n-%010d", i), "the sequential node is %s", path)
	}
	_, err = conn.CreateContainer("/go/container", nil, zk.FlagContainer, all)
	must(err, "create a container")
	children, _, err := conn.Children("/go")
	must(err, "children")
	check(len(children) >= 4, "the children are %v", children)
	_, err = conn.Create("/go/ephemeral", nil, zk.FlagEphemeral, all)
	must(err, "create an ephemeral node")
	_, err = conn.Create("/go/ephemeral/child", nil, 0, all)
	refused(err, zk.ErrNoChildrenForEphemerals, "a child of an ephemeral node")
	refused(conn.Delete("/go", -1), zk.ErrNotEmpty, "delete of a node with children")

	_, err = other.Sync("/go")
	must(err, "sync of the other client")
	_, _, data1, err := other.GetW("/go")
	must(err, "get with a watch")
	_, _, children1, err := other.ChildrenW("/go")
	must(err, "children with a watch")
	exists, _, created1, err := other.ExistsW("/go/later")
	must(err, "exists with a watch")
	check(!exists, "/go/later exists")
	_, err = conn.Set("/go", []byte("3"), -1)
	must(err, "set")
	fires(data1, zk.EventNodeDataChanged, "/go")
	_, err = conn.Create("/go/later", nil, 0, all)
	must(err, "create")
	fires(children1, zk.EventNodeChildrenChanged, "/go")
	fires(created1, zk.EventNodeCreated, "/go/later")

	_, err = conn.Multi(&zk.CreateRequest{Path: "/go/multi", Acl: all}, &zk.CheckVersionRequest{Path: "/go", Version: 77})
	refused(err, zk.ErrBadVersion, "multi with a wrong version")
	exists, _, err = conn.Exists("/go/multi")
	must(err, "exists")
	check(!exists, "a part of a refused multi was carried out")
	answers, err := conn.Multi(
		&zk.CreateRequest{Path: "/go/multi", Acl: all},
		&zk.SetDataRequest{Path: "/go/multi", Data: []byte("m"), Version: 0},
		&zk.DeleteRequest{Path: "/go/later", Version: -1},
	)
	must(err, "multi")
	check(len(answers) == 3 && answers[1].Stat.Version == 1, "multi answered %+v", answers)

	must(conn.AddAuth("digest", []byte("ann:secret")), "add authentication")
	_, err = conn.Create("/go/private", []byte("p"), 0, zk.DigestACL(zk.PermAll, "ann", "secret"))
	must(err, "create with a digest ACL")
	acl, _, err := conn.GetACL("/go/private")
	must(err, "get the ACL")
	check(len(acl) == 1 && acl[0].Scheme == "digest", "the ACL is %+v", acl)
	_, err = other.Sync("/go/private")
	must(err, "sync of the other client")
	_, _, err = other.Get("/go/private")
	refused(err, zk.ErrNoAuth, "read of a private node")
	_, err = conn.SetACL("/go/private", all, -1)
	must(err, "set the ACL")
	_, err = other.Sync("/go/private")
	must(err, "sync of the other client")
	_, _, err = other.Get("/go/private")
	must(err, "read of a node that is open again")
}

func main() {
	if len(os.Args) > 3 && os.Args[1] == "words" {
		words(strings.Split(os.Args[2], ","), os.Args[3:])
		return
	}
	if len(os.Args) > 2 {
		reconfigure(os.Args[1:])
		return
	}
	servers := strings.Split(os.Args[1], ",")
	conn, other := connect(servers), connect(servers)
	operations(conn, other)
	session := conn.SessionID()
	lock := zk.NewLock(conn, "/go/lock", all)
	must(lock.Lock(), "lock")
	_, _, watched, err := conn.GetW("/go")
	must(err, "get with a watch")
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadString('\n')

	again("write after the leader's death", func() error {
		_, err := other.Set("/go", []byte("after"), -1)
		return err
	})
	fires(watched, zk.EventNodeDataChanged, "/go")
	again("sync after the leader's death", func() error { _, err := conn.Sync("/go"); return err })
	check(conn.SessionID() == session, "the session is %#x and was %#x", conn.SessionID(), session)
	exists, stat, err := conn.Exists("/go/ephemeral")
	must(err, "exists")
	check(exists && stat.EphemeralOwner == session, "the ephemeral node did not outlive the leader: %+v", stat)
	taken := make(chan struct{})
	go func() {
		rival := zk.NewLock(other, "/go/lock", all)
		must(rival.Lock(), "the rival's lock")
		close(taken)
	}()
	select {
	case <-taken:
		fail("two hold one lock")
	case <-time.After(300 * time.Millisecond):
	}
	must(lock.Unlock(), "unlock")
	select {
	case <-taken:
	case <-time.After(patience):
		fail("the lock was never handed over")
	}
	conn.Close()
	again("the ephemeral node goes with its session", func() error {
		if _, err := other.Sync("/go"); err != nil {
			return err
		}
		exists, _, err := other.Exists("/go/ephemeral")
		if err == nil && exists {
			err = errors.New("it is still there")
		}
		return err
	})
	fmt.Println("done")
}
