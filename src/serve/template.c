/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Six texts around the messages' own: no language of templates, so that what members are
 * asked can be read off the pool file. A role without its two texts is refused.
 */
#include "serve/template.h"

#include <string.h>

#include "util/fail.h"
#include "yaml/yaml.h"

/* [before, after] */
static enum ww_err read_pair(const struct ww_ynode *map, const char *key,
                             const char **before, const char **after,
                             struct ww_error *err)
{
    const struct ww_ynode *pair = ww_yget(map, key);
    if (!pair) {
        return WW_OK;
    }
    if (ww_ytype(pair) != WW_Y_LIST || ww_ysize(pair) != 2 ||
        !ww_ytext(ww_yfirst(pair), before) ||
        !ww_ytext(ww_ynext(ww_yfirst(pair)), after)) {
        return WW_FAIL(err, WW_E_MALFORMED,
                       "line %zu: '%s' of 'chat' must be the two texts around a message",
                       ww_yline(pair), key);
    }
    return WW_OK;
}

static enum ww_err read_one(const struct ww_ynode *map, const char *key, const char **out,
                            struct ww_error *err)
{
    const struct ww_ynode *text = ww_yget(map, key);
    *out = "";
    if (text && !ww_ytext(text, out)) {
        return WW_FAIL(err, WW_E_MALFORMED, "line %zu: '%s' of 'chat' must be a text",
                       ww_yline(text), key);
    }
    return WW_OK;
}

enum ww_err ww_chat_template_read(const struct ww_members *members,
                                  struct ww_chat_template *out, struct ww_error *err)
{
    static const char *const allowed[] = {"begin", "system", "user", "assistant",
                                          "answer"};
    const struct ww_ynode *chat = ww_yget(ww_yaml_root(members->text, 0), "chat");
    memset(out, 0, sizeof(*out));
    if (!chat) {
        return WW_OK;
    }
    enum ww_err rc =
        ww_yonly(chat, allowed, WW_LEN(allowed), WW_E_MALFORMED, "'chat'", err);
    rc = rc ? rc : read_one(chat, "begin", &out->begin, err);
    rc = rc ? rc : read_one(chat, "answer", &out->answer, err);
    rc =
        rc ? rc : read_pair(chat, "system", &out->system.before, &out->system.after, err);
    rc = rc ? rc : read_pair(chat, "user", &out->user.before, &out->user.after, err);
    rc = rc ? rc
            : read_pair(chat, "assistant", &out->assistant.before, &out->assistant.after,
                        err);
    if (!rc && !out->user.before) {
        rc =
            WW_FAIL(err, WW_E_MALFORMED, "line %zu: 'chat' lacks 'user'", ww_yline(chat));
    }
    out->given = rc == WW_OK;
    return rc;
}
