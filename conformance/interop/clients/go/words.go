package main

import (
	"time"

	"github.com/go-zookeeper/zk"
)

// What go-zookeeper reads of servers by their words: `main words MODE,MODE,… HOST:PORT …`, the mode of each server in their order.
func words(modes, servers []string) {
	oks := zk.FLWRuok(servers, patience)
	stats, read := zk.FLWSrvr(servers, patience)
	check(len(oks) == len(servers) && len(stats) == len(servers), "%d and %d answers", len(oks), len(stats))
	for i, server := range servers {
		check(oks[i], "%s: not imok", server)
		of := stats[i]
		must(of.Error, server+": srvr")
		check(of.Mode.String() == modes[i], "%s: is %s, not %s", server, of.Mode, modes[i])
		check(of.Version[:4] == "3.9.", "%s: the version is %q", server, of.Version)
		check(of.BuildTime.After(time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)), "%s: built at %s", server, of.BuildTime)
		check(of.NodeCount > 4 && of.Connections > 0 && of.Received > 0, "%s: %+v", server, of)
		isAlone := modes[i] == "standalone"
		check(isAlone || of.Epoch > 0, "%s: the epoch is %d", server, of.Epoch)
	}
	check(read, "a server's srvr is not read")
	connected(servers[0])
}

// Of each connection with a session all fields. The connection that asks is listed without one, as by ZooKeeper, which this client
// counts as a line that it cannot read.
func connected(server string) {
	conn := connect([]string{server})
	defer conn.Close()
	_, _, err := conn.Children("/")
	must(err, "children")
	all, _ := zk.FLWCons([]string{server}, patience)
	for _, client := range all[0].Clients {
		if client.SessionID == conn.SessionID() {
			check(client.Received > 0 && client.Sent > 0 && client.Timeout > 0, "%+v", client)
			check(client.LastOperation == "GETC" && client.Lcxid > 0, "%+v", client)
			return
		}
	}
	fail("%s: cons has no line of session %x: %+v", server, conn.SessionID(), all[0].Clients)
}
