/* A fake speech provider: reads an upload, answers as OpenAI does, and says when the bytes came.
 *
 * It prints "port N" on stdout and serves until its parent ends. What a request asks for travels in its headers:
 *
 *     x-bench-pace: N          read the body at N bytes per second (a slow provider)
 *     x-bench-events: N        answer N server-sent events, each with the time it was sent, in nanoseconds: "t=N"
 *     x-bench-interval-us: N   between two events, microseconds
 *
 * and every reply carries x-bench-first (CLOCK_MONOTONIC nanoseconds of the first body byte) and x-bench-bytes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire.h"

static const uint64_t TICK_NS = 5000000; /* a paced reader takes its share every 5 ms */

struct connection {
    int fd;
    struct connection *next;         /* in the list of those with something due */
    struct message in;
    uint64_t started_ns, first_ns, due_ns;
    uint64_t pace;                   /* bytes per second; 0 is as fast as they come */
    uint64_t events_left, interval_ns;
    bool waiting, closing;
};

static int poller;
static struct connection *timed;     /* connections with a due_ns */
static char slice[SLICE];

static void watch(struct connection *c, bool readable) {
    struct epoll_event e = {.events = readable ? EPOLLIN : 0, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &e);
}

static void wait_until(struct connection *c, uint64_t due_ns) {
    c->due_ns = due_ns;
    if (c->waiting) return;
    c->waiting = true;
    c->next = timed;
    timed = c;
}

static void answer(struct connection *c, const char *bytes, size_t len) {
    /* A reply is far smaller than an empty socket buffer, so a partial write means that the peer is gone. */
    if (send(c->fd, bytes, len, MSG_NOSIGNAL) != (ssize_t)len) c->closing = true;
}

static void answer_json(struct connection *c) {
    static const char body[] =
        "{\"text\":\"The stale smell of old beer lingers. It takes heat to bring out the odor.\","
        "\"usage\":{\"type\":\"duration\",\"seconds\":8}}";
    char out[1024];
    int len = snprintf(out, sizeof out,
                       "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                       "x-bench-first: %llu\r\nx-bench-bytes: %llu\r\n\r\n%s",
                       sizeof body - 1, (unsigned long long)c->first_ns, (unsigned long long)c->in.body, body);
    answer(c, out, (size_t)len);
    message_reset(&c->in);
}

static void answer_chunk(struct connection *c, const char *event, const char *after) {
    char out[1024];
    int len = snprintf(out, sizeof out, "%zx\r\n%s\r\n%s", strlen(event), event, after);
    answer(c, out, (size_t)len);
}

static void start_events(struct connection *c) {
    char out[512];
    int len = snprintf(out, sizeof out,
                       "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
                       "Transfer-Encoding: chunked\r\nx-bench-first: %llu\r\nx-bench-bytes: %llu\r\n\r\n",
                       (unsigned long long)c->first_ns, (unsigned long long)c->in.body);
    answer(c, out, (size_t)len);
    c->interval_ns = header_number(&c->in, "x-bench-interval-us", 10000) * 1000;
    wait_until(c, now_ns() + c->interval_ns);
}

static void next_event(struct connection *c) {
    char event[256];
    if (c->events_left-- > 1) {
        snprintf(event, sizeof event, "data: {\"type\":\"transcript.text.delta\",\"delta\":\" t=%llu\"}\n\n",
                 (unsigned long long)now_ns());
        answer_chunk(c, event, "");
        wait_until(c, c->due_ns + c->interval_ns);
        return;
    }
    answer_chunk(c,
                 "data: {\"type\":\"transcript.text.done\",\"text\":\"The stale smell of old beer lingers.\","
                 "\"usage\":{\"type\":\"tokens\",\"input_tokens\":80,\"output_tokens\":9,\"total_tokens\":89}}\n\n",
                 "0\r\n\r\n");
    c->due_ns = 0;
    message_reset(&c->in);
}

/* The head has come: note what the request asks for. */
static void begin(struct connection *c) {
    c->first_ns = 0;
    c->started_ns = now_ns();
    c->events_left = header_number(&c->in, "x-bench-events", 0);
    c->pace = header_number(&c->in, "x-bench-pace", 0);
    if (c->pace) {
        watch(c, false); /* level-triggered: bytes that wait would wake us all the time */
        wait_until(c, c->started_ns + TICK_NS);
    }
}

static void finish(struct connection *c) {
    if (c->pace) {
        c->due_ns = 0;
        watch(c, true);
    }
    if (c->events_left)
        start_events(c);
    else
        answer_json(c);
}

/* Read up to limit bytes once; false when nothing more is to be had now. */
static bool receive(struct connection *c, size_t limit) {
    bool discard = c->in.phase == SIZED && c->in.body > 0; /* MSG_TRUNC drops bytes in the kernel, uncopied */
    if (discard && limit > c->in.left) limit = (size_t)c->in.left;
    if (!discard && limit > SLICE) limit = SLICE;
    ssize_t got = recv(c->fd, slice, limit, discard ? MSG_TRUNC | MSG_DONTWAIT : MSG_DONTWAIT);
    if (got <= 0) {
        c->closing = got == 0 || (errno != EAGAIN && errno != EINTR);
        return false;
    }
    bool in_head = c->in.phase == HEAD;
    if (discard)
        message_skip(&c->in, (size_t)got);
    else if (message_feed(&c->in, slice, (size_t)got, NULL, NULL) < (size_t)got)
        c->in.phase = BROKEN; /* no proxy of ours pipelines */
    if (in_head && c->in.phase != HEAD) begin(c);
    if (!c->first_ns && c->in.body) c->first_ns = now_ns();
    if (c->in.phase == BROKEN) c->closing = true;
    if (c->in.phase == DONE) finish(c);
    return c->in.phase != HEAD && !c->closing;
}

static void due(struct connection *c, uint64_t now) {
    if (!c->pace || c->in.phase == DONE) {
        next_event(c);
        return;
    }
    uint64_t allowed = (uint64_t)((double)c->pace * (double)(now - c->started_ns) / 1e9);
    wait_until(c, now + TICK_NS);
    while (c->pace && c->due_ns > now && c->in.phase != HEAD && c->in.body < allowed)
        if (!receive(c, (size_t)(allowed - c->in.body))) break;
}

static void run_timed(void) {
    uint64_t now = now_ns();
    for (struct connection **at = &timed; *at;) {
        struct connection *c = *at;
        if (!c->closing && c->due_ns && c->due_ns <= now) due(c, now);
        if (c->due_ns && !c->closing) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        c->waiting = false;
        if (c->closing) {
            close(c->fd);
            free(c);
        }
    }
}

static int wait_ms(void) {
    uint64_t soonest = UINT64_MAX, now = now_ns();
    for (struct connection *c = timed; c; c = c->next)
        if (c->due_ns < soonest) soonest = c->due_ns;
    if (soonest == UINT64_MAX) return -1;
    return soonest <= now ? 0 : (int)((soonest - now) / 1000000 + 1);
}

static void welcome(int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    struct connection *c = calloc(1, sizeof *c);
    if (!c) die("upstream: out of memory");
    c->fd = fd;
    message_reset(&c->in);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
}

static int listen_anywhere(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    if (bind(fd, (struct sockaddr *)&address, len) || listen(fd, CONNECTION_LIMIT))
        die("upstream: cannot listen: %s", strerror(errno));
    getsockname(fd, (struct sockaddr *)&address, &len);
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(void) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    poller = epoll_create1(EPOLL_CLOEXEC);
    int listener = listen_anywhere();
    struct epoll_event ready[64], e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        int count = epoll_wait(poller, ready, 64, wait_ms());
        for (int i = 0; i < count; i++) {
            struct connection *c = ready[i].data.ptr;
            if (!c) {
                welcome(listener);
                continue;
            }
            if (c->pace && c->waiting && !(ready[i].events & (EPOLLHUP | EPOLLERR))) continue;
            receive(c, SLICE);
            if (ready[i].events & (EPOLLHUP | EPOLLERR)) c->closing = true;
            if (!c->closing || c->waiting) continue; /* the timed list frees what is in it */
            close(c->fd);
            free(c);
        }
        run_timed();
    }
}
