/* HTTP/1.1 messages as they arrive: what the load generator and the fake upstream share.
 *
 * A message is a head and a body framed by Content-Length or by chunks (RFC 9112, sections 6 and 7). It can be cut anywhere.
 * Both programs talk to peers of ours on the loopback, so a message outside these limits ends the connection, loudly.
 */
#ifndef WIRE_H
#define WIRE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum {
    HEAD_LIMIT = 16384,    /* bytes of a message's head: twice what nginx and aiohttp take */
    LINE_LIMIT = 256,      /* bytes of a chunk-size line or trailer: we send no extensions */
    SLICE = 262144,        /* bytes read from a socket at once: fewer calls than the proxies make */
    CONNECTION_LIMIT = 1024, /* connections at once: below the usual limit on open files */
};

enum phase { HEAD, SIZED, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, DONE, BROKEN };

struct message {
    enum phase phase;
    uint64_t left;             /* bytes to come of the body or of the current chunk */
    uint64_t body;             /* body bytes seen, framing not counted */
    size_t head_len, line_len;
    char head[HEAD_LIMIT + 1]; /* NUL-terminated once phase has left HEAD */
    char line[LINE_LIMIT + 1];
};

/* Takes a piece of the body; may be NULL where nobody looks. */
typedef void (*body_sink)(void *owner, const char *data, size_t len);

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t); /* one clock for all processes of the machine */
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

__attribute__((noreturn, format(printf, 1, 2))) static inline void die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

static inline void message_reset(struct message *m) {
    m->phase = HEAD;
    m->left = m->body = 0;
    m->head_len = m->line_len = 0;
    m->head[0] = '\0';
}

/* The value of a header, or NULL. It ends at the next CR. */
static inline const char *header(const struct message *m, const char *name) {
    size_t len = strlen(name);
    for (const char *line = strstr(m->head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, name, len) == 0 && line[2 + len] == ':')
            return line + 3 + len + strspn(line + 3 + len, " \t");
    return NULL;
}

static inline uint64_t header_number(const struct message *m, const char *name, uint64_t otherwise) {
    const char *value = header(m, name);
    return value ? strtoull(value, NULL, 10) : otherwise;
}

static inline bool header_is(const struct message *m, const char *name, const char *value) {
    const char *found = header(m, name);
    return found && strncasecmp(found, value, strlen(value)) == 0;
}

static inline void message_frame(struct message *m) {
    if (header_is(m, "transfer-encoding", "chunked")) {
        m->phase = CHUNK_SIZE;
    } else {
        m->left = header_number(m, "content-length", 0);
        m->phase = m->left ? SIZED : DONE;
    }
}

static inline size_t take_head(struct message *m, const char *data, size_t len) {
    size_t before = m->head_len, room = HEAD_LIMIT - before, taken = len < room ? len : room;
    memcpy(m->head + before, data, taken);
    m->head[before + taken] = '\0';
    char *end = strstr(m->head + (before > 3 ? before - 3 : 0), "\r\n\r\n"); /* the end may lie across the cut */
    if (!end) {
        m->head_len += taken;
        if (m->head_len == HEAD_LIMIT) m->phase = BROKEN;
        return taken;
    }
    m->head_len = (size_t)(end - m->head) + 4;
    m->head[m->head_len] = '\0';
    message_frame(m);
    return m->head_len - before;
}

/* Collect up to and including LF; true when the line is whole, without its CRLF. */
static inline bool take_line(struct message *m, const char *data, size_t len, size_t *taken) {
    const char *lf = memchr(data, '\n', len);
    *taken = lf ? (size_t)(lf - data) + 1 : len;
    if (m->line_len + *taken > LINE_LIMIT) {
        m->phase = BROKEN;
        return false;
    }
    memcpy(m->line + m->line_len, data, *taken);
    m->line_len += *taken;
    if (!lf) return false;
    while (m->line_len && strchr("\r\n", m->line[m->line_len - 1])) m->line_len--;
    m->line[m->line_len] = '\0';
    return true;
}

static inline size_t take_framing(struct message *m, const char *data, size_t len) {
    size_t taken;
    if (!take_line(m, data, len, &taken)) return taken;
    bool empty = m->line_len == 0;
    m->line_len = 0;
    if (m->phase == CHUNK_SIZE) {
        char *end;
        m->left = strtoull(m->line, &end, 16);
        m->phase = end == m->line ? BROKEN : m->left ? CHUNK_DATA : TRAILER;
    } else if (m->phase == CHUNK_END) {
        m->phase = empty ? CHUNK_SIZE : BROKEN;
    } else if (empty) {
        m->phase = DONE;
    }
    return taken;
}

/* Count body bytes as seen; they need not have been looked at. */
static inline void message_skip(struct message *m, size_t len) {
    m->left -= len;
    m->body += len;
    if (m->left == 0) m->phase = m->phase == CHUNK_DATA ? CHUNK_END : DONE;
}

/* Feed bytes; returns how many belong to this message: fewer than len only when it is DONE or BROKEN. */
static inline size_t message_feed(struct message *m, const char *data, size_t len, body_sink sink, void *owner) {
    size_t used = 0;
    while (used < len && m->phase != DONE && m->phase != BROKEN) {
        if (m->phase == HEAD) {
            used += take_head(m, data + used, len - used);
        } else if (m->phase == SIZED || m->phase == CHUNK_DATA) {
            size_t piece = len - used < m->left ? len - used : (size_t)m->left;
            if (sink) sink(owner, data + used, piece);
            message_skip(m, piece);
            used += piece;
        } else {
            used += take_framing(m, data + used, len - used);
        }
    }
    return used;
}

#endif
