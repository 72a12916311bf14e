/*
 * What users of ZooKeeper's C client do: every synchronous operation, watches, multi, and a session that outlives the leader.
 *
 *     work HOST:PORT,HOST:PORT,...
 *
 * With more arguments the program changes the members instead: see reconfig.c.
 *
 * The program prints "ready" when its first half is done, waits for a line on its standard input while the test kills the
 * leader, goes on with the same session, and prints "done". It exits with 1 and a sentence at the first wrong answer.
 *
 * With ZABRA_TLS=DIR it speaks TLS, with the files that `zabra tls init DIR` has written; with ZABRA_SASL=DIR it authenticates by SASL
 * as ann, with the password that stands in DIR/password. A client that is built without them fails.
 */
#include "work.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef HAVE_CYRUS_SASL_H
#include <sasl/sasl.h>
#endif

void fail(const char *format, ...) {
    va_list parts;
    printf("the C client: ");
    va_start(parts, format);
    vprintf(format, parts);
    va_end(parts);
    printf("\n");
    fflush(stdout);
    _exit(1);
}

void expect(int got, int want, const char *what) {
    if (got != want) fail("%s: answered %s, and should be %s", what, zerror(got), zerror(want));
}

void check(int holds, const char *what) {
    if (!holds) fail("%s does not hold", what);
}

void on_event(zhandle_t *zk, int type, int state, const char *path, void *context) {
    struct told *told = context;
    (void)zk;
    (void)state;
    if (type == ZOO_SESSION_EVENT) return; /* a lost connection, which the client mends */
    pthread_mutex_lock(&told->lock);
    told->type = type;
    snprintf(told->path, sizeof told->path, "%s", path);
    pthread_cond_signal(&told->news);
    pthread_mutex_unlock(&told->lock);
}

void fires(struct told *told, int type, const char *path) {
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += PATIENCE_SECONDS;
    pthread_mutex_lock(&told->lock);
    while (told->type == 0)
        if (pthread_cond_timedwait(&told->news, &told->lock, &end) != 0) fail("the watch of %s never fired", path);
    if (told->type != type || strcmp(told->path, path) != 0)
        fail("the watch told %d of %s, and should tell %d of %s", told->type, told->path, type, path);
    pthread_mutex_unlock(&told->lock);
}

void pause_ms(long ms) {
    struct timespec time = {0, ms * 1000000};
    nanosleep(&time, NULL);
}

static zhandle_t *by_tls(const char *servers, const char *folder) {
#ifdef HAVE_OPENSSL_H
    char files[1024];
    snprintf(files, sizeof files, "%s/ca.pem,%s/client.pem,%s/client.pem", folder, folder, folder);
    return zookeeper_init_ssl(servers, files, NULL, TIMEOUT_MS, NULL, NULL, 0);
#else
    (void)servers;
    fail("this client is built without OpenSSL, and should use %s", folder);
    return NULL;
#endif
}

static zhandle_t *by_sasl(const char *servers, const char *folder) {
#ifdef HAVE_CYRUS_SASL_H
    char password[1024];
    snprintf(password, sizeof password, "%s/password", folder);
    zoo_sasl_params_t how = {"zookeeper", "zk-sasl-md5", "DIGEST-MD5", zoo_sasl_make_basic_callbacks("ann", NULL, password)};
    check(sasl_client_init(NULL) == SASL_OK, "sasl_client_init");
    return zookeeper_init_sasl(servers, NULL, TIMEOUT_MS, NULL, NULL, 0, NULL, &how);
#else
    (void)servers;
    fail("this client is built without Cyrus SASL, and should use %s", folder);
    return NULL;
#endif
}

/* By which scheme the servers know this client before it says anything. */
static const char *known_by(void) {
    return getenv("ZABRA_TLS") ? "x509" : getenv("ZABRA_SASL") ? "sasl" : NULL;
}

zhandle_t *connected(const char *servers) {
    const char *tls = getenv("ZABRA_TLS"), *sasl = getenv("ZABRA_SASL");
    zhandle_t *zk = tls    ? by_tls(servers, tls)
                    : sasl ? by_sasl(servers, sasl)
                           : zookeeper_init(servers, NULL, TIMEOUT_MS, NULL, NULL, 0);
    check(zk != NULL, "zookeeper_init");
    for (int i = 0; zoo_state(zk) != ZOO_CONNECTED_STATE; i++) {
        if (i > PATIENCE_SECONDS * 50) fail("no session");
        pause_ms(20);
    }
    return zk;
}

static struct told synced = NOTHING_YET;

static void on_sync(int answer, const char *path, const void *data) {
    (void)data;
    expect(answer, ZOK, "sync");
    on_event(NULL, ZOO_CHANGED_EVENT, 0, path, &synced);
}

static void sync_with(zhandle_t *zk, const char *path) {
    synced.type = 0;
    expect(zoo_async(zk, path, on_sync, NULL), ZOK, "sync");
    fires(&synced, ZOO_CHANGED_EVENT, path);
}

static pthread_mutex_t auth_lock = PTHREAD_MUTEX_INITIALIZER;
static int auth_answer = 1;

static void on_auth(int answer, const void *data) {
    (void)data;
    pthread_mutex_lock(&auth_lock);
    auth_answer = answer;
    pthread_mutex_unlock(&auth_lock);
}

static int has_scheme(const struct ACL_vector *acl, const char *scheme) {
    for (int i = 0; i < acl->count; i++)
        if (strcmp(acl->data[i].id.scheme, scheme) == 0) return 1;
    return 0;
}

static void operations(zhandle_t *zk, zhandle_t *other) {
    char path[64], data[64];
    int length = sizeof data;
    struct Stat stat;
    struct String_vector children;

    expect(zoo_create(zk, "/c", "0", 1, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path), ZOK, "create");
    check(strcmp(path, "/c") == 0, "the created path");
    expect(zoo_create(zk, "/c", "0", 1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0), ZNODEEXISTS, "create again");
    expect(zoo_create(zk, "/none/child", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0), ZNONODE, "create without a parent");
    expect(zoo_set2(zk, "/c", "22", 2, 0, &stat), ZOK, "set");
    check(stat.version == 1 && stat.dataLength == 2, "the Stat of set");
    expect(zoo_set(zk, "/c", "x", 1, 0), ZBADVERSION, "set of an old version");
    expect(zoo_get(zk, "/c", 0, data, &length, &stat), ZOK, "get");
    check(length == 2 && memcmp(data, "22", 2) == 0, "the data");
    for (int i = 0; i < 3; i++) {
        char want[64];
        snprintf(want, sizeof want, "/c/n-%010d", i);
        expect(zoo_create(zk, "/c/n-", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, path, sizeof path), ZOK, "a sequential node");
        check(strcmp(path, want) == 0, "the name of the sequential node");
    }
    expect(zoo_create(zk, "/c/container", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_CONTAINER, NULL, 0), ZOK, "a container");
    expect(zoo_create(zk, "/c/ephemeral", "e", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, NULL, 0), ZOK, "an ephemeral node");
    expect(zoo_create(zk, "/c/ephemeral/child", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0), ZNOCHILDRENFOREPHEMERALS,
           "a child of an ephemeral node");
    expect(zoo_delete(zk, "/c", -1), ZNOTEMPTY, "delete of a node with children");
    expect(zoo_get_children2(zk, "/c", 0, &children, &stat), ZOK, "children");
    check(children.count == 5 && stat.numChildren == 5, "five children");
    deallocate_String_vector(&children);

    struct told changed = NOTHING_YET, child = NOTHING_YET, created = NOTHING_YET;
    sync_with(other, "/c");
    length = sizeof data;
    expect(zoo_wget(other, "/c", on_event, &changed, data, &length, &stat), ZOK, "get with a watch");
    expect(zoo_wget_children(other, "/c", on_event, &child, &children), ZOK, "children with a watch");
    deallocate_String_vector(&children);
    expect(zoo_wexists(other, "/c/later", on_event, &created, &stat), ZNONODE, "exists with a watch");
    expect(zoo_set(zk, "/c", "3", 1, -1), ZOK, "set");
    fires(&changed, ZOO_CHANGED_EVENT, "/c");
    expect(zoo_create(zk, "/c/later", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0), ZOK, "create");
    fires(&child, ZOO_CHILD_EVENT, "/c");
    fires(&created, ZOO_CREATED_EVENT, "/c/later");

    zoo_op_t ops[3];
    zoo_op_result_t results[3];
    zoo_create_op_init(&ops[0], "/c/multi", "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, sizeof path);
    zoo_check_op_init(&ops[1], "/c", 77);
    expect(zoo_multi(zk, 2, ops, results), ZBADVERSION, "multi with a wrong version");
    expect(zoo_exists(zk, "/c/multi", 0, &stat), ZNONODE, "a part of a refused multi");
    zoo_set_op_init(&ops[1], "/c/multi", "m", 1, 0, &stat);
    zoo_delete_op_init(&ops[2], "/c/later", -1);
    expect(zoo_multi(zk, 3, ops, results), ZOK, "multi");
    check(stat.version == 1, "the Stat inside multi");

    expect(zoo_add_auth(zk, "digest", "ann:secret", 10, on_auth, NULL), ZOK, "add authentication");
    expect(zoo_create(zk, "/c/private", "p", 1, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0), ZOK, "create for the creator alone");
    pthread_mutex_lock(&auth_lock);
    expect(auth_answer, ZOK, "authentication");
    pthread_mutex_unlock(&auth_lock);
    struct ACL_vector acl;
    expect(zoo_get_acl(zk, "/c/private", &acl, &stat), ZOK, "get the ACL");
    check(has_scheme(&acl, "digest"), "the creator is known by its password");
    check(known_by() == NULL ? acl.count == 1 : has_scheme(&acl, known_by()), "the schemes of the creator");
    deallocate_ACL_vector(&acl);
    /* The other client is of the same user, where that is shown by a certificate or by SASL. */
    struct ACL of_ann[] = {{ZOO_PERM_ALL, {"digest", "ann:7RJfAeIvrl4zdj6sS2fXrQHDvHM="}}};
    struct ACL_vector for_ann = {1, of_ann};
    expect(zoo_set_acl(zk, "/c/private", -1, &for_ann), ZOK, "set the ACL");
    sync_with(other, "/c/private");
    length = sizeof data;
    expect(zoo_get(other, "/c/private", 0, data, &length, NULL), ZNOAUTH, "read of a private node");
    expect(zoo_set_acl(zk, "/c/private", -1, &ZOO_OPEN_ACL_UNSAFE), ZOK, "set the ACL");
    sync_with(other, "/c/private");
    length = sizeof data;
    expect(zoo_get(other, "/c/private", 0, data, &length, NULL), ZOK, "read of a node that is open again");
}

int main(int count, char **arguments) {
    zoo_set_debug_level(0);
    if (count == 6) {
        reconfigure(arguments + 1);
        return 0;
    }
    check(count == 2, "one argument");
    zhandle_t *zk = connected(arguments[1]), *other = connected(arguments[1]);
    operations(zk, other);
    int64_t session = zoo_client_id(zk)->client_id;
    struct told watched = NOTHING_YET;
    struct Stat stat;
    expect(zoo_wexists(zk, "/c", on_event, &watched, &stat), ZOK, "exists with a watch");
    printf("ready\n");
    fflush(stdout);
    char line[16];
    check(fgets(line, sizeof line, stdin) != NULL, "a line on standard input");

    AGAIN("write after the leader's death", zoo_set(other, "/c", "after", 5, -1));
    fires(&watched, ZOO_CHANGED_EVENT, "/c");
    AGAIN("read after the leader's death", zoo_exists(zk, "/c/ephemeral", 0, &stat));
    check(zoo_client_id(zk)->client_id == session, "the same session");
    check(stat.ephemeralOwner == session, "the ephemeral node outlived the leader");
    expect(zookeeper_close(zk), ZOK, "close");
    AGAIN("the ephemeral node goes with its session",
          zoo_exists(other, "/c/ephemeral", 0, &stat) == ZNONODE ? ZOK : ZOPERATIONTIMEOUT);
    zookeeper_close(other);
    printf("done\n");
    return 0;
}
