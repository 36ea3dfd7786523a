/* SPDX-License-Identifier: Apache-2.0 */
#include "lineage/declared.h"

#include <string.h>
#include <unistd.h>

#include "evidence/front_matter.h"
#include "util/fail.h"
#include "util/fs.h"
#include "weightward/merge.h"
#include "yaml/yaml.h"

#define MAX_CARD ((size_t)1 << 20)
#define MAX_NAMES 1024

/* A model that is passed over would be one that nobody declared. */
static enum ww_err add(const struct ww_ynode *node, struct ww_declared *out,
                       struct ww_error *err)
{
    const char *text = NULL;

    if (!ww_ytext(node, &text) || !ww_text_ok((const uint8_t *)text, strlen(text))) {
        out->unread = "base_model of the card has an entry that is no name of a model";
        return WW_OK;
    }
    if (text[0] == '\0' || ww_strlist_has(&out->names, text)) {
        return WW_OK;
    }
    if (out->names.n >= MAX_NAMES) {
        out->unread = "base_model of the card has more than 1024 entries";
        return WW_OK;
    }
    return ww_strlist_add(&out->names, text, err);
}

static enum ww_declared_relation relation_of(const struct ww_ynode *root)
{
    const struct ww_ynode *said = ww_yget(root, "base_model_relation");
    const char *text = NULL;

    if (!said || !ww_ytext(said, &text)) {
        return WW_DECLARED_DERIVED;
    }
    return strcmp(text, "quantized") == 0 ? WW_DECLARED_QUANTIZED
           : strcmp(text, "merge") == 0   ? WW_DECLARED_MERGE
                                          : WW_DECLARED_DERIVED;
}

enum ww_err ww_declared_card(const uint8_t *text, size_t len, struct ww_declared *out,
                             struct ww_error *err)
{
    struct ww_yaml *card = ww_card_open(text, len);
    const struct ww_ynode *root = card ? ww_yaml_root(card, 0) : NULL;
    const struct ww_ynode *said = ww_yget(root, "base_model");
    enum ww_err rc = WW_OK;

    out->relation = relation_of(root);
    if (!card && ww_card_has_front(text, len)) {
        out->unread = "the front matter of the card cannot be read as YAML";
    }
    if (said && ww_ytype(said) == WW_Y_LIST) {
        for (said = ww_yfirst(said); said && !rc; said = ww_ynext(said)) {
            rc = add(said, out, err);
        }
    } else if (said) {
        rc = add(said, out, err);
    }
    ww_yaml_free(card);
    return rc;
}

/* A file that is not there says nothing; one that cannot be read is an error. */
static enum ww_err read_file(int dirfd, const char *name, struct ww_buf *out, bool *there,
                             struct ww_error *err)
{
    enum ww_err rc = ww_file_read_at(dirfd, name, WW_LINKS_REFUSE, out, err);

    *there = rc == WW_OK;
    if (rc == WW_E_NOTFOUND) {
        ww_error_clear(err); /* what is said later is said of something else */
        return WW_OK;
    }
    return rc;
}

enum ww_err ww_declared_read(const char *folder, struct ww_declared *out,
                             struct ww_error *err)
{
    struct ww_buf text;
    int fd = -1;
    bool there = false;
    enum ww_err rc = WW_OK;

    memset(out, 0, sizeof(*out));
    ww_buf_init(&text, MAX_CARD);
    rc = ww_dir_open(folder, &fd, err);
    if (!rc) {
        rc = read_file(fd, WW_MERGE_RECIPE_FILE, &text, &there, err);
    }
    if (!rc && there) {
        out->file = WW_MERGE_RECIPE_FILE;
    } else if (!rc) {
        ww_buf_clear(&text);
        rc = read_file(fd, WW_DECLARED_CARD, &text, &there, err);
    }
    if (!rc && there && !out->file) {
        rc = ww_declared_card(text.data, text.len, out, err);
        out->file = out->names.n || out->unread ? WW_DECLARED_CARD : NULL;
    }
    if (fd >= 0) {
        close(fd);
    }
    ww_buf_release(&text);
    return rc;
}

void ww_declared_release(struct ww_declared *declared)
{
    ww_strlist_release(&declared->names);
    memset(declared, 0, sizeof(*declared));
}
