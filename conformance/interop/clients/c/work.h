/* What the programs of this folder share. */
#ifndef WORK_H
#define WORK_H
#define THREADED
#include <pthread.h>
#include <zookeeper/zookeeper.h>

enum { PATIENCE_SECONDS = 30, TIMEOUT_MS = 10000 };

void fail(const char *format, ...);
void expect(int got, int want, const char *what);
void check(int holds, const char *what);
void pause_ms(long ms);
zhandle_t *connected(const char *servers);

/* What a watcher was told last. */
struct told {
    pthread_mutex_t lock;
    pthread_cond_t news;
    int type;
    char path[64];
};

#define NOTHING_YET {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, ""}

void on_event(zhandle_t *zk, int type, int state, const char *path, void *told);
void fires(struct told *told, int type, const char *path);

/* Requests fail while the client looks for another server; they are asked again, as every user of this client does. */
#define AGAIN(what, request)                                                                  \
    do {                                                                                      \
        time_t end = time(NULL) + PATIENCE_SECONDS;                                           \
        int answer;                                                                           \
        while ((answer = (request)) != ZOK) {                                                 \
            if (time(NULL) > end) fail("%s: still %s", what, zerror(answer));                 \
            pause_ms(20);                                                                     \
        }                                                                                     \
    } while (0)

/* The program that changes the members of an ensemble; see reconfig.c. */
void reconfigure(char **arguments);

#endif
