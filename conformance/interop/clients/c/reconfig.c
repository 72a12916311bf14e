/*
 * What users of ZooKeeper's C client do with the members of an ensemble: read and watch the list, move to other servers by it, and change
 * it in every way that there is. At the end the members are those of the beginning.
 *
 *     work SERVERS MEMBERS JOINER LEADER DISABLED
 *
 * SERVERS is the connect string of three members, MEMBERS their lines `server.N=...`, parted by commas, JOINER the line of a server that
 * runs and is no member, LEADER the id of who leads. DISABLED is a server without reconfigEnabled. `super:secret` has all rights.
 */
#include "work.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TEXT = 2048, MEMBERS = 3 };

static const char NODE[] = "/zookeeper/config";

/* The list as a client sees it: the lines of the members, the version, and the Stat of the node. */
struct list {
    char text[TEXT];
    int64_t version;
    struct Stat stat;
};

struct member {
    char line[256];
    char client[64];
    char id[16];
};

static struct member members[MEMBERS], joiner;

static void parse(struct list *list, int length) {
    check(length >= 0 && length < TEXT, "the list has its length");
    list->text[length] = 0;
    check(list->stat.dataLength == length, "the length in the Stat of the list");
    char *version = strstr(list->text, "\nversion=");
    if (version == NULL) fail("the list is %s", list->text);
    list->version = strtoll(version + strlen("\nversion="), NULL, 16);
    *version = 0;
}

static int read_list(zhandle_t *zk, struct told *told, struct list *list) {
    int length = TEXT - 1;
    int answer = told == NULL ? zoo_getconfig(zk, 0, list->text, &length, &list->stat)
                              : zoo_wgetconfig(zk, on_event, told, list->text, &length, &list->stat);
    if (answer == ZOK) parse(list, length);
    return answer;
}

static struct list list_of(zhandle_t *zk) {
    struct list list;
    expect(read_list(zk, NULL, &list), ZOK, "get the list");
    return list;
}

/*
 * The Stat is that of the node: its version never counts, and its last change is the version of the list. When that was is another time on
 * each of ZooKeeper's servers.
 */
static void shows(const struct list *list, const char *text) {
    const struct Stat *stat = &list->stat;
    if (strcmp(list->text, text) != 0) fail("the list is\n%s\nand should be\n%s", list->text, text);
    check(stat->mzxid == list->version && stat->version == -1 && stat->aversion == -1, "the versions in the Stat of the list");
    check(stat->czxid == 0 && stat->ctime == 0 && stat->cversion == 0 && stat->pzxid == 0, "the Stat of the list");
    check(stat->ephemeralOwner == 0 && stat->numChildren == 0, "the Stat of the list");
}

static int reconfig(zhandle_t *zk, const char *joining, const char *leaving, const char *whole, int64_t version, struct list *list) {
    int length = TEXT - 1;
    int answer = zoo_reconfig(zk, joining, leaving, whole, version, list->text, &length, &list->stat);
    if (answer == ZOK) parse(list, length);
    return answer;
}

static void refused(zhandle_t *zk, const char *joining, const char *leaving, const char *whole, int64_t version, int with) {
    struct list list;
    int64_t before = list_of(zk).version;
    expect(reconfig(zk, joining, leaving, whole, version, &list), with, "a change of the members");
    check(list_of(zk).version == before, "a refused change changes nothing");
}

static pthread_mutex_t auth_lock = PTHREAD_MUTEX_INITIALIZER;
static int auth_answer;

static void on_auth(int answer, const void *data) {
    (void)data;
    pthread_mutex_lock(&auth_lock);
    auth_answer = answer;
    pthread_mutex_unlock(&auth_lock);
}

static int is_known(void) {
    pthread_mutex_lock(&auth_lock);
    int answer = auth_answer;
    pthread_mutex_unlock(&auth_lock);
    return answer;
}

static zhandle_t *as(const char *user, const char *servers) {
    zhandle_t *zk = connected(servers);
    auth_answer = ZOPERATIONTIMEOUT;
    expect(zoo_add_auth(zk, "digest", user, (int)strlen(user), on_auth, NULL), ZOK, "add authentication");
    AGAIN("authentication", is_known());
    return zk;
}

static struct member member_of(const char *line) {
    struct member member;
    snprintf(member.line, sizeof member.line, "%s", line);
    const char *client = strchr(line, ';');
    check(client != NULL && sscanf(line, "server.%15[0-9]=", member.id) == 1, "a line of a member");
    snprintf(member.client, sizeof member.client, "%s", client + 1);
    return member;
}

/* The lines of the members without one of them, in the order of their ids, and this line behind; parted by `by`. */
static const char *lines(char *text, const struct member *without, const char *and, const char *by) {
    *text = 0;
    for (int i = 0; i < MEMBERS; i++)
        if (&members[i] != without) sprintf(text + strlen(text), "%s%s", *text ? by : "", members[i].line);
    if (and != NULL) sprintf(text + strlen(text), "%s%s", by, and);
    return text;
}

/* Whether the client sees this list now; ZOK if so. */
static int sees(zhandle_t *zk, const char *text) {
    struct list list;
    int answer = read_list(zk, NULL, &list);
    return answer != ZOK ? answer : strcmp(list.text, text) == 0 ? ZOK : ZOPERATIONTIMEOUT;
}

static void shown_by(const char *server, const char *text) {
    zhandle_t *zk = connected(server);
    AGAIN("a server shows the list", sees(zk, text));
    struct list list = list_of(zk);
    shows(&list, text);
    zookeeper_close(zk);
}

static void shown_by_all(const char *text, int also_the_joiner) {
    for (int i = 0; i < MEMBERS; i++) shown_by(members[i].client, text);
    if (also_the_joiner) shown_by(joiner.client, text);
}

/* Carries out a change: its answer is the list of which the watch tells. The version. */
static int64_t changed(zhandle_t *zk, zhandle_t *watcher, const char *text, const char *joining, const char *leaving, const char *whole,
                       int64_t version) {
    struct told told = NOTHING_YET;
    struct list answered, seen;
    expect(read_list(watcher, &told, &seen), ZOK, "get the list with a watch");
    expect(reconfig(zk, joining, leaving, whole, version, &answered), ZOK, "a change of the members");
    shows(&answered, text);
    check(answered.version > seen.version, "versions go up");
    fires(&told, ZOO_CHANGED_EVENT, NODE);
    seen = list_of(watcher);
    shows(&seen, text);
    if (seen.version != answered.version)
        fail("the list is of %llx, and was answered as %llx", (long long)seen.version, (long long)answered.version);
    return answered.version;
}

static void refusals(zhandle_t *zk) {
    int64_t version = list_of(zk).version;
    char text[TEXT], gone[64];
    zhandle_t *nobody = connected(members[0].client), *wrong = as("super:wrong", members[0].client);
    refused(nobody, joiner.line, NULL, NULL, -1, ZNOAUTH);
    refused(wrong, joiner.line, NULL, NULL, -1, ZNOAUTH);
    zookeeper_close(nobody);
    zookeeper_close(wrong);
    refused(zk, joiner.line, NULL, NULL, version + 1, ZBADVERSION);
    refused(zk, NULL, NULL, lines(text, NULL, NULL, ","), version - 1, ZBADVERSION);
    refused(zk, "some thing", NULL, NULL, -1, ZBADARGUMENTS);
    refused(zk, "server.9=127.0.0.1:1:2", NULL, NULL, -1, ZBADARGUMENTS);
    refused(zk, NULL, NULL, "some thing", -1, ZBADARGUMENTS);
    snprintf(gone, sizeof gone, "%s,%s", members[1].id, members[2].id);
    refused(zk, NULL, gone, NULL, -1, ZBADARGUMENTS);
    const char *away = "server.7=127.0.0.1:7:17;27,server.8=127.0.0.1:8:18;28,server.9=127.0.0.1:9:19;29";
    refused(zk, NULL, NULL, away, -1, ZNEWCONFIGNOQUORUM);
    refused(zk, away, members[0].id, NULL, -1, ZNEWCONFIGNOQUORUM);
}

/*
 * A client that is told of another server goes there, in its session. It tells servers by their hosts alone, so that it has to be led
 * away from this one before it sees that the port is another.
 */
static void moves_to(zhandle_t *zk, const struct member *server) {
    int64_t session = zoo_client_id(zk)->client_id;
    struct Stat stat;
    expect(zoo_set_servers(zk, "127.0.0.2:1"), ZOK, "tell the client of a server that is not there");
    expect(zoo_set_servers(zk, server->client), ZOK, "tell the client of another server");
    AGAIN("a read of a client that moves", zoo_exists(zk, "/", 0, &stat));
    if (strcmp(zoo_get_current_server(zk), server->client) != 0)
        fail("the client is at %s and not at %s", zoo_get_current_server(zk), server->client);
    check(zoo_client_id(zk)->client_id == session, "the session is the same");
}

static void changes(zhandle_t *zk, const struct member *follower) {
    char all[TEXT], now[TEXT], whole[TEXT];
    zhandle_t *watcher = connected(members[2].client);
    lines(all, NULL, NULL, "\n");
    int64_t before = changed(zk, watcher, all, NULL, NULL, NULL, -1);
    int64_t joined = changed(zk, watcher, lines(now, NULL, joiner.line, "\n"), joiner.line, NULL, NULL, before);
    shown_by_all(now, 1);
    refused(zk, NULL, joiner.id, NULL, before, ZBADVERSION);
    moves_to(watcher, &joiner);
    moves_to(watcher, &members[2]);
    changed(zk, watcher, all, NULL, joiner.id, NULL, joined);

    /* One comes for another: the answer is that of the server that goes, and its clients stay. */
    zhandle_t *at_follower = as("super:secret", follower->client);
    int64_t session = zoo_client_id(at_follower)->client_id;
    changed(at_follower, watcher, lines(now, follower, joiner.line, "\n"), joiner.line, follower->id, NULL, -1);
    struct Stat stat;
    expect(zoo_exists(at_follower, "/", 0, &stat), ZOK, "read from the server that has gone");
    check(zoo_client_id(at_follower)->client_id == session, "the session is the same");
    zookeeper_close(at_follower);

    /* The whole list, which does not look at the one before. */
    char observer[sizeof joiner.line];
    const char *client = strchr(joiner.line, ';'), *role = strstr(joiner.line, ":participant;");
    check(role != NULL, "the joiner is to have a vote");
    snprintf(observer, sizeof observer, "%.*s:observer%s", (int)(role - joiner.line), joiner.line, client);
    int64_t version = changed(zk, watcher, all, NULL, NULL, lines(whole, NULL, NULL, ","), -1);
    version = changed(zk, watcher, lines(now, NULL, observer, "\n"), NULL, NULL, lines(whole, NULL, observer, ","), version);
    shown_by_all(now, 1);
    changed(zk, watcher, all, NULL, joiner.id, NULL, version);
    shown_by_all(all, 0);
    zookeeper_close(watcher);
}

/* One attempt at a change while leaders come and go: an answer may be lost, and who just came may not be ready. */
static int attempt(zhandle_t *zk, const char *text, const char *joining, const char *leaving) {
    struct list list;
    int answer = sees(zk, text);
    if (answer != ZOPERATIONTIMEOUT) return answer;
    answer = reconfig(zk, joining, leaving, NULL, -1, &list);
    if (answer == ZOK) shows(&list, text);
    return answer;
}

static void leader_goes(zhandle_t *zk, const struct member *leader) {
    char text[TEXT];
    lines(text, leader, NULL, "\n");
    AGAIN("the leader goes", attempt(zk, text, NULL, leader->id));
    AGAIN("a write without the leader", zoo_create(zk, "/c-reconfig-", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, NULL, 0));
    lines(text, NULL, NULL, "\n");
    AGAIN("the leader comes back", attempt(zk, text, leader->line, NULL));
    shown_by_all(text, 0);
}

void reconfigure(char **arguments) {
    char *rest = NULL, *line = strtok_r(arguments[1], ",", &rest);
    for (int i = 0; i < MEMBERS; i++, line = strtok_r(NULL, ",", &rest)) {
        check(line != NULL, "three members");
        members[i] = member_of(line);
    }
    joiner = member_of(arguments[2]);
    const struct member *leader = NULL, *follower = NULL;
    for (int i = MEMBERS; i-- > 0;)
        if (strcmp(members[i].id, arguments[3]) == 0) leader = &members[i];
        else follower = &members[i];
    check(leader != NULL && follower != NULL, "one of the members leads");

    zhandle_t *zk = as("super:secret", arguments[0]);
    /* The first list gets its version behind the first election. */
    AGAIN("the list has a version", list_of(zk).version != 0 ? ZOK : ZOPERATIONTIMEOUT);
    char text[TEXT];
    struct list first = list_of(zk);
    shows(&first, lines(text, NULL, NULL, "\n"));
    refusals(zk);
    changes(zk, follower);
    leader_goes(zk, leader);
    zookeeper_close(zk);

    zhandle_t *off = as("super:secret", arguments[4]);
    expect(reconfig(off, joiner.line, NULL, NULL, -1, &first), ZRECONFIGDISABLED, "a change where changes are disabled");
    zookeeper_close(off);
    printf("done\n");
}
