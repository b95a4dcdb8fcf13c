/*
 * The reader of dialogue files. It knows no protocol: lines go out, lines come in and are compared.
 */
#include "dialogue.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum { CONNECTIONS = 10, LINES_MAX = 4000, RUN_MAX = 50 };

struct play {
    const struct dialogue_peer *peer;
    const char *path;
    char *lines[LINES_MAX];
    int count, at;
    bool byte_by_byte, door;
    void *connections[CONNECTIONS];
    struct buf *problem;
};

static bool wrong(struct play *play, const char *wanted, const char *came)
{
    buf_printf(play->problem, "%s:%d (%s)\n  wanted: %s\n  came:   %s", play->path, play->at + 1,
               play->byte_by_byte ? "byte by byte" : "in lines", wanted, came);
    buf_u8(play->problem, 0);
    return false;
}

static void *connection(struct play *play, int number)
{
    if (play->connections[number] == NULL)
        play->connections[number] = play->peer->open(play->peer->arg, number, play->door);
    return play->connections[number];
}

static void send_bytes(struct play *play, int number, struct slice bytes)
{
    void *to = connection(play, number);
    size_t step = play->byte_by_byte && bytes.size < 3000 ? 1 : bytes.size;
    for (size_t at = 0; at < bytes.size; at += step)
        play->peer->send(to, slice_sub(bytes, at, step));
}

/* \r \n \0 \t \\ \xNN */
static void unescape(const char *text, struct buf *out)
{
    for (; *text != 0; text++) {
        if (*text != '\\' || text[1] == 0) {
            buf_u8(out, (uint8_t)*text);
            continue;
        }
        char c = *++text;
        if (c == 'x' && text[1] != 0 && text[2] != 0) {
            char hex[3] = {text[1], text[2], 0};
            buf_u8(out, (uint8_t)strtoul(hex, NULL, 16));
            text += 2;
        } else {
            buf_u8(out, c == 'r'   ? '\r'
                        : c == 'n' ? '\n'
                        : c == 't' ? '\t'
                        : c == '0' ? 0
                                   : (uint8_t)c);
        }
    }
}

/* kind: what stands between the number and the colon. */
static bool play_client(struct play *play, int number, const char *kind, const char *text)
{
    struct buf bytes = {0};
    if (kind[0] == '"') {
        unescape(text, &bytes);
    } else if (kind[0] == '*') {
        for (long times = strtol(kind + 1, NULL, 10); times > 0; times--)
            buf_add_str(&bytes, text);
    } else {
        buf_add_str(&bytes, text);
        buf_add_str(&bytes, "\r\n");
    }
    send_bytes(play, number, buf_slice(&bytes));
    buf_finish(&bytes);
    return true;
}

static bool matches(const char *expression, const char *line)
{
    regex_t regex;
    struct buf whole = {0};
    buf_printf(&whole, "^(%s)$", expression);
    buf_u8(&whole, 0);
    bool good = regcomp(&regex, (char *)whole.data, REG_EXTENDED | REG_NOSUB) == 0;
    if (good) {
        good = regexec(&regex, line, 0, NULL, 0) == 0;
        regfree(&regex);
    }
    buf_finish(&whole);
    return good;
}

static const char *read_line(struct play *play, int number, struct buf *line)
{
    buf_clear(line);
    enum dialogue_read result = play->peer->read(connection(play, number), line);
    if (result != DIALOGUE_LINE)
        return result == DIALOGUE_CLOSED ? "(closed)" : "(nothing)";
    buf_u8(line, 0);
    return (const char *)line->data;
}

/* The parts of "S2~: text"; false: not such a line. */
static bool take_apart(const char *line, char who, int *number, char kind[16], const char **text)
{
    const char *colon = strchr(line, ':');
    size_t size = 0;
    if (line[0] != who || colon == NULL || colon - line > 12)
        return false;
    const char *at = line + 1;
    *number = 1;
    if (*at >= '1' && *at <= '9')
        *number = *at++ - '0';
    while (at < colon)
        kind[size++] = *at++;
    kind[size] = 0;
    *text = colon + 1 + (colon[1] == ' ');
    return size == 0 || strchr("\"*~!", kind[0]) != NULL;
}

/* A run of "S*:" lines of one connection. */
static bool play_any_order(struct play *play, int number)
{
    const char *wanted[RUN_MAX];
    int count = 0, other;
    char kind[16];
    const char *text;
    struct buf line = {0};
    bool good = true;
    while (count < RUN_MAX && play->at < play->count &&
           take_apart(play->lines[play->at], 'S', &other, kind, &text) && kind[0] == '*' &&
           other == number) {
        wanted[count++] = text;
        play->at++;
    }
    for (int left = count; good && left > 0; left--) {
        const char *came = read_line(play, number, &line);
        int i = 0;
        while (i < count && (wanted[i] == NULL || strcmp(wanted[i], came) != 0))
            i++;
        good = i < count || wrong(play, "(one of the lines above)", came);
        if (good)
            wanted[i] = NULL;
    }
    play->at--;
    buf_finish(&line);
    return good;
}

static bool play_server(struct play *play, int number, const char *kind, const char *text)
{
    struct buf line = {0};
    bool good;
    if (kind[0] == '*')
        return play_any_order(play, number);
    const char *came = read_line(play, number, &line);
    if (kind[0] == '!')
        good = strcmp(came, "(closed)") == 0 || wrong(play, "(closed)", came);
    else if (kind[0] == '~')
        good = matches(text, came) || wrong(play, text, came);
    else
        good = strcmp(came, text) == 0 || wrong(play, text, came);
    buf_finish(&line);
    return good;
}

static void play_message(struct play *play, const char *mailbox)
{
    struct buf message = {0};
    while (play->at + 1 < play->count && play->lines[play->at + 1][0] == '|') {
        const char *line = play->lines[++play->at];
        buf_add_str(&message, line + (line[1] == ' ' ? 2 : 1));
        buf_add_str(&message, "\r\n");
    }
    play->peer->deliver(play->peer->arg, slice_str(mailbox), buf_slice(&message));
    buf_finish(&message);
}

static bool play_line(struct play *play)
{
    const char *line = play->lines[play->at];
    int number;
    char kind[16];
    const char *text;
    if (line[0] == 0 || line[0] == '#')
        return true;
    if (strcmp(line, "USE door") == 0) {
        play->door = true;
        return true;
    }
    if (take_apart(line, 'C', &number, kind, &text))
        return play_client(play, number, kind, text);
    if (take_apart(line, 'S', &number, kind, &text))
        return play_server(play, number, kind, text);
    if (strncmp(line, "M: ", 3) != 0)
        return wrong(play, "a line of a dialogue", line);
    play_message(play, line + 3);
    return true;
}

static bool nothing_left(struct play *play)
{
    struct buf line = {0};
    bool good = true;
    for (int i = 1; good && i < CONNECTIONS; i++) {
        if (play->connections[i] == NULL)
            continue;
        const char *came = read_line(play, i, &line);
        good = came[0] == '(' || wrong(play, "(the end)", came);
    }
    buf_finish(&line);
    return good;
}

bool dialogue_play(const char *path, bool byte_by_byte, const struct dialogue_peer *peer,
                   struct buf *problem)
{
    struct play play = {
        .peer = peer, .path = path, .byte_by_byte = byte_by_byte, .problem = problem};
    char *line = NULL;
    size_t room = 0;
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return wrong(&play, "a file", "none");
    while (play.count < LINES_MAX && getline(&line, &room, file) >= 0) {
        line[strcspn(line, "\n")] = 0;
        play.lines[play.count++] = mem_strdup(line);
    }
    fclose(file);
    free(line);
    bool good = play.count > 0 || wrong(&play, "lines", "none");
    for (; good && play.at < play.count; play.at++)
        good = play_line(&play);
    good = good && nothing_left(&play);
    for (int i = 0; i < play.count; i++)
        free(play.lines[i]);
    return good;
}
