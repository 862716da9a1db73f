/* A load generator for multipart uploads: many keep-alive connections, one thread, one line of JSON at the end.
 *
 * Every connection sends the same request, a form with a WAV or MP3 file of noise, again and again until the time or the number of
 * requests is used up; requests under way then are finished. Whatever is not a whole 200 is an error: it is counted,
 * the first one is shown on stderr, and the connection starts afresh.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "wire.h"

enum {
    SAMPLES = 1 << 20,   /* of each kind that are kept: more than a run of ours makes */
    ERRORS_LIMIT = 100,  /* then the run is worth nothing and ends */
    OPTIONS = 16,        /* extra headers: the bench needs five */
};
static const uint64_t TICK_NS = 10000000; /* a paced sender sends its share every 10 ms */
static const char BOUNDARY[] = "d0cd64b5c1a14d1db3fc8b5fa1e2a0ad"; /* of the kind that OpenAI's Python client makes */

/* --- what to send ------------------------------------------------------------------------------------------------- */

static struct {
    int port, connections, limit_s;
    double seconds;
    uint64_t requests, file_bytes, pace, pause_after, pause_ms, chunk;
    bool file_first, stream, mp3;
    const char *path, *headers[OPTIONS];
    int header_count;
} option = {.connections = 1, .limit_s = 60, .seconds = 3600, .requests = UINT64_MAX, .file_bytes = 100000,
            .path = "/v1/audio/transcriptions"};

struct text {
    char *bytes;
    size_t len;
};

static struct text request;
static size_t body_at; /* where the body begins in the request */

static void add(struct text *t, const char *bytes, size_t len) {
    t->bytes = realloc(t->bytes, t->len + len + 1);
    if (!t->bytes) die("load: out of memory");
    memcpy(t->bytes + t->len, bytes, len);
    t->len += len;
    t->bytes[t->len] = '\0';
}

__attribute__((format(printf, 2, 3))) static void print(struct text *t, const char *format, ...) {
    char line[1024];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof line) die("load: a header or field is too long");
    add(t, line, (size_t)len);
}

static void add_field(struct text *body, const char *name, const char *value) {
    print(body, "--%s\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n", BOUNDARY, name, value);
}

static void add_u32(struct text *t, uint32_t n) { add(t, (const char[]){(char)n, (char)(n >> 8), (char)(n >> 16), (char)(n >> 24)}, 4); }

static void add_noise(struct text *t, size_t len) {
    static uint64_t noise = 0x9E3779B97F4A7C15u;
    char block[8192];
    while (len) {
        for (size_t i = 0; i < sizeof block; i += 8) { /* xorshift64 */
            noise ^= noise << 13, noise ^= noise >> 7, noise ^= noise << 17;
            memcpy(block + i, &noise, 8);
        }
        size_t piece = len < sizeof block ? len : sizeof block;
        add(t, block, piece);
        len -= piece;
    }
}

/* 16 kHz mono 16-bit PCM, as whisper wants it; the sound is noise, the same in every run. */
static void add_wav(struct text *body, uint64_t size) {
    uint32_t data = size > 44 ? (uint32_t)size - 44 : 0;
    add(body, "RIFF", 4), add_u32(body, data + 36), add(body, "WAVEfmt ", 8), add_u32(body, 16);
    add_u32(body, 1 | 1 << 16), add_u32(body, 16000), add_u32(body, 32000), add_u32(body, 2 | 16 << 16);
    add(body, "data", 4), add_u32(body, data);
    add_noise(body, data);
}

/* 128 kbit/s at 44.1 kHz, padded as encoders do it: 417.96 bytes a frame. The frames hold noise, which is what
   compressed audio looks like. The last one is whole. */
static void add_mp3(struct text *body, uint64_t size) {
    uint64_t end = body->len + size;
    for (uint64_t frame = 0; body->len < end; frame++) {
        uint64_t len = (frame + 1) * 144 * 128000 / 44100 - frame * 144 * 128000 / 44100;
        size_t at = body->len;
        add_noise(body, len);
        memcpy(body->bytes + at, len == 418 ? "\xff\xfb\x92\x64" : "\xff\xfb\x90\x64", 4);
    }
}

static void add_file(struct text *body) {
    const char *kind = option.mp3 ? "mp3" : "wav";
    print(body, "--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"sample.%s\"\r\n"
                "Content-Type: audio/%s\r\n\r\n", BOUNDARY, kind, kind);
    (option.mp3 ? add_mp3 : add_wav)(body, option.file_bytes);
    print(body, "\r\n");
}

static struct text make_body(void) {
    struct text body = {0};
    if (option.file_first) add_file(&body);
    add_field(&body, "model", "whisper-1");
    add_field(&body, "response_format", "json");
    if (option.stream) add_field(&body, "stream", "true");
    if (!option.file_first) add_file(&body);
    print(&body, "--%s--\r\n", BOUNDARY);
    return body;
}

static void make_request(void) {
    struct text body = make_body();
    print(&request, "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: bench/1\r\nAccept: */*\r\n", option.path, option.port);
    print(&request, "Content-Type: multipart/form-data; boundary=%s\r\n", BOUNDARY);
    for (int i = 0; i < option.header_count; i++) print(&request, "%s\r\n", option.headers[i]);
    if (option.chunk)
        print(&request, "Transfer-Encoding: chunked\r\n\r\n");
    else
        print(&request, "Content-Length: %zu\r\n\r\n", body.len);
    body_at = request.len;
    if (!option.chunk) add(&request, body.bytes, body.len);
    for (size_t at = 0; option.chunk && at < body.len; at += option.chunk) {
        size_t piece = body.len - at < option.chunk ? body.len - at : option.chunk;
        print(&request, "%zx\r\n", piece);
        add(&request, body.bytes + at, piece);
        print(&request, "\r\n");
    }
    if (option.chunk) print(&request, "0\r\n\r\n");
    free(body.bytes);
}

/* --- what came of it ---------------------------------------------------------------------------------------------- */

struct samples {
    uint32_t *ns; /* up to 4 s each; more is kept as 4 s */
    size_t count;
};

static struct samples latency, first_byte, event_delay;
static uint64_t started_count, finished_count, errors, sent_bytes;

static void keep(struct samples *s, uint64_t ns) {
    if (!s->ns && !(s->ns = malloc(SAMPLES * sizeof *s->ns))) die("load: out of memory");
    if (s->count < SAMPLES) s->ns[s->count++] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_samples(const char *name, struct samples *s) {
    printf(",\"%s\":", name);
    if (!s->count) {
        printf("null");
        return;
    }
    qsort(s->ns, s->count, sizeof *s->ns, by_size);
    double ms = 1e-6;
    printf("{\"count\":%zu,\"p50\":%.4f,\"p99\":%.4f,\"max\":%.4f}", s->count, s->ns[s->count / 2] * ms,
           s->ns[s->count * 99 / 100] * ms, s->ns[s->count - 1] * ms);
}

/* --- one connection ----------------------------------------------------------------------------------------------- */

struct connection {
    int fd;
    size_t sent;
    uint64_t started_ns, due_ns;
    bool active, paused, blocked;
    struct message in;
    char line[512]; /* of an event stream: longer lines are cut, ours are under 200 bytes */
    size_t line_len;
};

static int poller;
static uint64_t began_ns, deadline_ns; /* all are connected by then */

static void connect_afresh(struct connection *c) {
    if (c->fd >= 0) close(c->fd);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)option.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) die("load: cannot connect: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e);
}

static void start(struct connection *c, uint64_t now) {
    message_reset(&c->in);
    c->active = now < deadline_ns && started_count < option.requests && errors < ERRORS_LIMIT;
    if (!c->active) return;
    started_count++;
    c->sent = c->line_len = 0;
    c->paused = c->blocked = false;
    c->started_ns = now;
    c->due_ns = 0;
}

/* How many bytes of the request may have left by now. */
static size_t allowed(struct connection *c, uint64_t now) {
    if (option.pause_after && !c->paused) return body_at + option.pause_after;
    if (!option.pace) return request.len;
    size_t share = (size_t)((double)option.pace * (double)(now - c->started_ns + TICK_NS) / 1e9);
    return share < request.len ? share : request.len;
}

static void send_some(struct connection *c, uint64_t now) {
    size_t until = allowed(c, now);
    if (until > request.len) until = request.len;
    while (c->sent < until) {
        ssize_t n = send(c->fd, request.bytes + c->sent, until - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0) {
            c->blocked = errno == EAGAIN; /* any other error: the reading side sees it too, after the reply if there is one */
            c->due_ns = 0;
            return;
        }
        c->sent += (size_t)n;
        sent_bytes += (size_t)n;
    }
    c->due_ns = 0;
    if (c->sent == request.len) return;
    c->due_ns = now + (option.pause_after && !c->paused ? option.pause_ms * 1000000 : TICK_NS);
    c->paused = true;
}

static void look_for_times(void *owner, const char *data, size_t len) {
    struct connection *c = owner;
    uint64_t now = now_ns();
    for (size_t i = 0; i < len; i++) {
        if (data[i] != '\n') {
            if (c->line_len < sizeof c->line - 1) c->line[c->line_len++] = data[i];
            continue;
        }
        c->line[c->line_len] = '\0';
        c->line_len = 0;
        const char *mark = strstr(c->line, " t=");
        if (mark) keep(&event_delay, now - strtoull(mark + 3, NULL, 10));
    }
}

static void fail(struct connection *c, const char *why, uint64_t now) {
    if (errors++ == 0) fprintf(stderr, "load: %s: %.*s\n", why, 600, c->in.head);
    connect_afresh(c);
    start(c, now);
}

static void finish(struct connection *c, uint64_t now) {
    if (strncmp(c->in.head, "HTTP/1.1 200", 12) != 0 || c->sent < request.len) {
        fail(c, c->sent < request.len ? "answered before the upload was whole" : "not a 200", now);
        return;
    }
    finished_count++;
    keep(&latency, now - c->started_ns);
    uint64_t first_ns = header_number(&c->in, "x-bench-first", 0);
    if (first_ns) keep(&first_byte, first_ns - c->started_ns);
    if (header_is(&c->in, "connection", "close")) connect_afresh(c);
    start(c, now);
}

static void receive(struct connection *c) {
    static char slice[SLICE];
    for (;;) {
        ssize_t n = recv(c->fd, slice, sizeof slice, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        uint64_t now = now_ns();
        if (n <= 0) {
            if (c->active) fail(c, "connection closed", now);
            return;
        }
        size_t used = message_feed(&c->in, slice, (size_t)n, option.stream ? look_for_times : NULL, c);
        if (c->in.phase == BROKEN || used < (size_t)n) {
            fail(c, "reply makes no sense", now);
            return;
        }
        if (c->in.phase == DONE) {
            finish(c, now);
            if (c->active) send_some(c, now_ns());
        }
        if ((size_t)n < sizeof slice) return; /* edge-triggered: more bytes are a new edge */
    }
}

/* --- the run ------------------------------------------------------------------------------------------------------ */

static int run_timed(struct connection *all, bool *busy) {
    uint64_t now = now_ns(), soonest = UINT64_MAX;
    *busy = false;
    for (int i = 0; i < option.connections; i++) {
        struct connection *c = &all[i];
        if (!c->active) continue;
        *busy = true;
        if (c->due_ns && c->due_ns <= now) send_some(c, now);
        if (!c->due_ns && !c->blocked && c->sent < request.len) send_some(c, now); /* started afresh after a failure */
        if (c->due_ns && c->due_ns < soonest) soonest = c->due_ns;
    }
    if (soonest == UINT64_MAX) return 1000;
    now = now_ns();
    return soonest <= now ? 0 : (int)((soonest - now) / 1000000 + 1);
}

static void run(struct connection *all) {
    struct epoll_event ready[64];
    for (int i = 0; i < option.connections; i++) {
        all[i].fd = -1;
        connect_afresh(&all[i]);
    }
    uint64_t now = began_ns = now_ns();
    deadline_ns = now + (uint64_t)(option.seconds * 1e9);
    for (int i = 0; i < option.connections; i++) {
        start(&all[i], now);
        if (option.pace) all[i].due_ns = now + TICK_NS * (uint64_t)i / (uint64_t)option.connections; /* not all at once */
    }
    for (;;) {
        bool busy;
        int wait_ms = run_timed(all, &busy);
        if (!busy) return;
        int count = epoll_wait(poller, ready, 64, wait_ms);
        for (int i = 0; i < count; i++) {
            struct connection *c = ready[i].data.ptr;
            if (!c->active) continue;
            if (ready[i].events & EPOLLOUT && c->blocked) {
                c->blocked = false;
                send_some(c, now_ns());
            }
            if (ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(c);
        }
    }
}

static void read_options(int argc, char **argv) {
    static const struct option known[] = {
        {"port", 1, 0, 'p'},       {"connections", 1, 0, 'c'}, {"seconds", 1, 0, 's'},     {"requests", 1, 0, 'n'},
        {"file-bytes", 1, 0, 'b'}, {"pace", 1, 0, 'r'},        {"pause-after", 1, 0, 'a'}, {"pause-ms", 1, 0, 'm'},
        {"chunk", 1, 0, 'k'},      {"file-first", 0, 0, 'f'},  {"stream", 0, 0, 'e'},      {"mp3", 0, 0, 'M'},      {"header", 1, 0, 'H'},
        {"limit", 1, 0, 'l'},      {"path", 1, 0, 'u'},        {0, 0, 0, 0},
    };
    for (int o; (o = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (o) {
        case 'p': option.port = atoi(optarg); break;
        case 'c': option.connections = atoi(optarg); break;
        case 's': option.seconds = atof(optarg); break;
        case 'n': option.requests = strtoull(optarg, NULL, 10); break;
        case 'b': option.file_bytes = strtoull(optarg, NULL, 10); break;
        case 'r': option.pace = strtoull(optarg, NULL, 10); break;
        case 'a': option.pause_after = strtoull(optarg, NULL, 10); break;
        case 'm': option.pause_ms = strtoull(optarg, NULL, 10); break;
        case 'k': option.chunk = strtoull(optarg, NULL, 10); break;
        case 'f': option.file_first = true; break;
        case 'M': option.mp3 = true; break;
        case 'e': option.stream = true; break;
        case 'l': option.limit_s = atoi(optarg); break;
        case 'u': option.path = optarg; break;
        case 'H':
            if (option.header_count == OPTIONS) die("load: too many headers");
            option.headers[option.header_count++] = optarg;
            break;
        default: die("load: see read_options() in load.c");
        }
    }
    if (!option.port || option.connections < 1 || option.connections > CONNECTION_LIMIT || option.file_bytes > 1u << 30)
        die("load: --port is needed, --connections is 1 to %d, --file-bytes up to 1 GiB", CONNECTION_LIMIT);
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    alarm((unsigned)option.limit_s); /* whatever happens, it ends */
    make_request();
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct connection *all = calloc((size_t)option.connections, sizeof *all);
    if (!all) die("load: out of memory");
    run(all);
    printf("{\"requests\":%llu,\"errors\":%llu,\"bytes\":%llu,\"seconds\":%.6f", (unsigned long long)finished_count,
           (unsigned long long)errors, (unsigned long long)sent_bytes, (double)(now_ns() - began_ns) * 1e-9);
    print_samples("latency_ms", &latency);
    print_samples("first_byte_ms", &first_byte);
    print_samples("event_delay_ms", &event_delay);
    printf("}\n");
    return 0;
}
