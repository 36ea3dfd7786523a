/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each source of a merge is predicted by the merge and all the others, so one after the
 * other they would be read as often as there are of them. Written in turns, chunk by
 * chunk, they are read once from the disk. Sections follow each other in the package, so
 * all but the first wait in files without a name.
 */
#include <string.h>
#include <unistd.h>

#include "crypto/secret.h"
#include "merge/extract_write.h"
#include "rmm/packing.h"
#include "util/alloc.h"
#include "util/fail.h"
#include "util/num.h"

struct together {
    struct ww_member_out *outs;
    struct ww_section_out *sections;
    struct ww_secret **keys;
    size_t n; /* begun */
};

static enum ww_err begin(struct ww_packing *p, struct together *t, size_t i,
                         struct ww_error *err)
{
    struct ww_pack_manifest_member *entry = &p->manifest.members[p->manifest.n_members];
    struct ww_section_out *section = &t->sections[i];
    enum ww_err rc = WW_OK;

    *section = (struct ww_section_out){.fd = i == 0 ? p->made.fd : -1,
                                       .name = p->made.partial,
                                       .at = i == 0 ? p->made.at : 0};
    t->n = i + 1;
    t->outs[i] = (struct ww_member_out){&p->members[i], section, entry};
    ww_packing_entry(p, i, entry);
    p->manifest.n_members++;
    if (i > 0) {
        rc = ww_extract_scratch(p->path, &section->fd, err);
    }
    if (!rc && p->given[i].n_to > 0) {
        rc = ww_packing_seal(p, &p->given[i], entry, &t->keys[i], err);
    }
    section->key = t->keys[i];
    section->cipher = entry->cipher;
    return rc ? rc : ww_section_begin(section, err);
}

static enum ww_err place(struct ww_packing *p, const struct together *t, size_t i,
                         struct ww_error *err)
{
    struct ww_pack_manifest_member *entry = t->outs[i].entry;

    entry->offset = p->made.at;
    if (entry->sealed) {
        memset(entry->coded, 0, sizeof(entry->coded));
    }
    if (i > 0) {
        return ww_pack_new_append(&p->made, t->sections[i].fd, entry->bytes, err);
    }
    ww_pack_new_after(&p->made, t->sections[i].at);
    return WW_OK;
}

static void release(struct together *t)
{
    for (size_t i = 0; i < t->n; i++) {
        if (i > 0 && t->sections[i].fd >= 0) {
            close(t->sections[i].fd);
        }
        ww_section_out_release(&t->sections[i]);
        ww_secret_free(t->keys[i]);
    }
    ww_free(t->outs);
    ww_free(t->sections);
    ww_free(t->keys);
}

enum ww_err ww_packing_together(struct ww_packing *p, struct ww_error *err)
{
    struct together t = {.outs = ww_calloc(p->n_given, sizeof(*t.outs)),
                         .sections = ww_calloc(p->n_given, sizeof(*t.sections)),
                         .keys = ww_calloc(p->n_given, sizeof(*t.keys))};
    enum ww_err rc =
        t.outs && t.sections && t.keys ? WW_OK : WW_FAIL_MEMORY(err, "coding");

    for (size_t i = 0; i < p->n_given && !rc; i++) {
        rc = begin(p, &t, i, err);
    }
    if (!rc) {
        rc = ww_members_write(t.outs, p->n_given, &p->use, p->crew, &p->pace, err);
    }
    for (size_t i = 0; i < p->n_given && !rc; i++) {
        rc = place(p, &t, i, err);
    }
    release(&t);
    return rc;
}
