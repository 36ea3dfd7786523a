/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A verified chain as a CycloneDX 1.6 document. Ancestors stand three times: as
 * components, in the pedigree of what was made of them, and as edges in 'dependencies',
 * since readers of bills of materials look at one of the three. Nothing in it depends on
 * time: the serial number is a hash of the digests, so that the same chain gives the same
 * document.
 */
#include <stdio.h>
#include <string.h>

#include "evidence/bom.h"
#include "util/fail.h"
#include "util/str.h"

#define REF_BYTES 32

static void write_ref(struct ww_jw *w, const char *key, const char *kind, size_t i)
{
    char ref[REF_BYTES];

    (void)snprintf(ref, sizeof(ref), "%s-%zu", kind, i);
    if (key) {
        ww_jw_kstr(w, key, ref);
    } else {
        ww_jw_str(w, ref);
    }
}

static void write_property(struct ww_jw *w, const char *name, const char *value)
{
    if (value[0]) {
        ww_jw_object(w);
        ww_jw_kstr(w, "name", name);
        ww_jw_kstr(w, "value", value);
        ww_jw_close(w);
    }
}

/* Cards spell licences as the Hub does. Ids of SPDX must be spelt exactly; what is not in
 * the table goes by its name. */
static void write_license(struct ww_jw *w, const char *license)
{
    static const struct {
        const char *card;
        const char *spdx;
    } ids[] = {
        {"apache-2.0", "Apache-2.0"},
        {"mit", "MIT"},
        {"bsd-2-clause", "BSD-2-Clause"},
        {"bsd-3-clause", "BSD-3-Clause"},
        {"cc0-1.0", "CC0-1.0"},
        {"cc-by-4.0", "CC-BY-4.0"},
        {"cc-by-sa-4.0", "CC-BY-SA-4.0"},
        {"cc-by-nc-4.0", "CC-BY-NC-4.0"},
        {"cc-by-nc-sa-4.0", "CC-BY-NC-SA-4.0"},
        {"cc-by-nd-4.0", "CC-BY-ND-4.0"},
        {"cc-by-nc-nd-4.0", "CC-BY-NC-ND-4.0"},
        {"cc-by-3.0", "CC-BY-3.0"},
        {"mpl-2.0", "MPL-2.0"},
        {"isc", "ISC"},
        {"unlicense", "Unlicense"},
        {"zlib", "Zlib"},
        {"bsl-1.0", "BSL-1.0"},
        {"epl-2.0", "EPL-2.0"},
        {"eupl-1.2", "EUPL-1.2"},
        {"artistic-2.0", "Artistic-2.0"},
        {"ms-pl", "MS-PL"},
        {"ofl-1.1", "OFL-1.1"},
        {"wtfpl", "WTFPL"},
        {"cdla-permissive-2.0", "CDLA-Permissive-2.0"},
    };
    const char *id = NULL;

    for (size_t i = 0; i < WW_LEN(ids) && !id; i++) {
        id = strcmp(ids[i].card, license) == 0 ? ids[i].spdx : NULL;
    }
    ww_jw_key(w, "licenses");
    ww_jw_array(w);
    ww_jw_object(w);
    ww_jw_key(w, "license");
    ww_jw_object(w);
    ww_jw_kstr(w, id ? "id" : "name", id ? id : license);
    ww_jw_close(w);
    ww_jw_close(w);
    ww_jw_close(w);
}

/* The root digest of the folder, where one is stated. */
static void write_identity(struct ww_jw *w, const struct ww_chain_link *link)
{
    ww_jw_kstr(w, "type", "machine-learning-model");
    ww_jw_kstr(w, "name", link->name);
    if (link->root_sha256[0]) {
        ww_jw_key(w, "hashes");
        ww_jw_array(w);
        ww_jw_object(w);
        ww_jw_kstr(w, "alg", "SHA-256");
        ww_jw_kstr(w, "content", link->root_sha256);
        ww_jw_close(w);
        ww_jw_close(w);
    }
    if (link->license[0]) {
        write_license(w, link->license);
    }
}

static void write_pedigree(struct ww_jw *w, const struct ww_chain_report *report,
                           const struct ww_chain_link *link)
{
    if (link->n_sources == 0) {
        return;
    }
    ww_jw_key(w, "pedigree");
    ww_jw_object(w);
    ww_jw_key(w, "ancestors");
    ww_jw_array(w);
    for (size_t i = 0; i < link->n_sources; i++) {
        ww_jw_object(w);
        write_identity(w, &report->links[link->sources[i]]);
        ww_jw_close(w);
    }
    ww_jw_close(w);
    ww_jw_close(w);
}

static void write_card(struct ww_jw *w, const struct ww_chain_report *report)
{
    ww_jw_key(w, "modelCard");
    ww_jw_object(w);
    ww_jw_key(w, "properties");
    ww_jw_array(w);
    write_property(w, "weightward:locked", report->model.locked ? "true" : "false");
    ww_jw_close(w);
    ww_jw_close(w);
}

static void write_component(struct ww_jw *w, const struct ww_chain_report *report,
                            const struct ww_bom_form *form, size_t i)
{
    const struct ww_chain_link *link = &report->links[i];

    ww_jw_object(w);
    write_ref(w, "bom-ref", "model", i);
    write_identity(w, link);
    write_pedigree(w, report, link);
    if (i == 0) {
        write_card(w, report);
    }
    ww_jw_key(w, "properties");
    ww_jw_array(w);
    write_property(w, "weightward:action", link->action);
    write_property(w, "weightward:method", link->method);
    if (form->signers) {
        write_property(w, "weightward:signer", link->signer);
    }
    write_property(w, "weightward:tensor_root", link->tensor_root);
    write_property(w, "weightward:evidence_sha256", link->evidence_sha256);
    ww_jw_close(w);
    ww_jw_close(w);
}

static void write_dependencies(struct ww_jw *w, const struct ww_chain_report *report)
{
    ww_jw_key(w, "dependencies");
    ww_jw_array(w);
    for (size_t i = 0; i < report->n_links; i++) {
        const struct ww_chain_link *link = &report->links[i];
        ww_jw_object(w);
        write_ref(w, "ref", "model", i);
        ww_jw_key(w, "dependsOn");
        ww_jw_array(w);
        for (size_t k = 0; k < link->n_sources; k++) {
            write_ref(w, NULL, "model", link->sources[k]);
        }
        ww_jw_close(w);
        ww_jw_close(w);
    }
    ww_jw_close(w);
}

/* One workflow for each step that made a model of others. */
static void write_step(struct ww_jw *w, const struct ww_chain_report *report, size_t i)
{
    const struct ww_chain_link *link = &report->links[i];

    ww_jw_object(w);
    write_ref(w, "bom-ref", "step", i);
    ww_jw_kstr(w, "uid", link->evidence_sha256);
    ww_jw_kstr(w, "name", link->action);
    ww_jw_key(w, "resourceReferences");
    ww_jw_array(w);
    for (size_t k = 0; k < link->n_sources; k++) {
        ww_jw_object(w);
        write_ref(w, "ref", "model", link->sources[k]);
        ww_jw_close(w);
    }
    ww_jw_close(w);
    ww_jw_key(w, "taskTypes");
    ww_jw_array(w);
    ww_jw_str(w, strcmp(link->action, "merge") == 0 ? "merge" : "other");
    ww_jw_close(w);
    ww_jw_close(w);
}

static void write_formulation(struct ww_jw *w, const struct ww_chain_report *report)
{
    ww_jw_key(w, "formulation");
    ww_jw_array(w);
    ww_jw_object(w);
    ww_jw_kstr(w, "bom-ref", "formulation");
    ww_jw_key(w, "workflows");
    ww_jw_array(w);
    for (size_t i = 0; i < report->n_links; i++) {
        if (report->links[i].n_sources > 0) {
            write_step(w, report, i);
        }
    }
    ww_jw_close(w);
    ww_jw_close(w);
    ww_jw_close(w);
}

/* A UUID of the custom kind (RFC 9562, version 8) from the digests of the links. */
enum ww_err ww_bom_serial(const struct ww_chain_report *report,
                          char out[WW_BOM_SERIAL_BYTES], struct ww_error *err)
{
    uint8_t d[WW_SHA256_BYTES];
    char hex[WW_HEX_BYTES(16)];
    struct ww_sha256 *h = NULL;
    enum ww_err rc = ww_sha256_new(&h, err);

    if (rc) {
        return rc;
    }
    for (size_t i = 0; i < report->n_links; i++) {
        const struct ww_chain_link *link = &report->links[i];
        ww_sha256_update(h, link->name, strlen(link->name) + 1);
        ww_sha256_update(h, link->root_sha256, sizeof(link->root_sha256));
        ww_sha256_update(h, link->evidence_sha256, sizeof(link->evidence_sha256));
        ww_sha256_update(h, link->license, strlen(link->license) + 1);
    }
    ww_sha256_final(h, d);
    ww_sha256_free(h);
    d[6] = (uint8_t)((d[6] & 0x0f) | 0x80);
    d[8] = (uint8_t)((d[8] & 0x3f) | 0x80);
    ww_hex(hex, d, 16);
    (void)snprintf(out, WW_BOM_SERIAL_BYTES, "urn:uuid:%.8s-%.4s-%.4s-%.4s-%.12s", hex,
                   hex + 8, hex + 12, hex + 16, hex + 20);
    return WW_OK;
}

static void write_head(struct ww_jw *w, const char *serial)
{
    ww_jw_kstr(w, "$schema", "http://cyclonedx.org/schema/bom-1.6.schema.json");
    ww_jw_kstr(w, "bomFormat", "CycloneDX");
    ww_jw_kstr(w, "specVersion", "1.6");
    ww_jw_kstr(w, "serialNumber", serial);
    ww_jw_ku64(w, "version", 1);
}

static void write_tools(struct ww_jw *w, const char *version)
{
    ww_jw_key(w, "tools");
    ww_jw_object(w);
    ww_jw_key(w, "components");
    ww_jw_array(w);
    ww_jw_object(w);
    ww_jw_kstr(w, "type", "application");
    ww_jw_kstr(w, "name", "weightward");
    ww_jw_kstr(w, "version", version);
    ww_jw_close(w);
    ww_jw_close(w);
    ww_jw_close(w);
}

enum ww_err ww_bom_write_into(struct ww_jw *w, const struct ww_chain_report *report,
                              const struct ww_bom_form *form, struct ww_error *err)
{
    char serial[WW_BOM_SERIAL_BYTES];
    enum ww_err rc = ww_bom_serial(report, serial, err);

    if (rc) {
        return rc;
    }
    ww_jw_object(w);
    write_head(w, serial);
    ww_jw_key(w, "metadata");
    ww_jw_object(w);
    write_tools(w, WW_VERSION);
    ww_jw_key(w, "component");
    write_component(w, report, form, 0);
    ww_jw_close(w);
    ww_jw_key(w, "components");
    ww_jw_array(w);
    for (size_t i = 1; i < report->n_links; i++) {
        write_component(w, report, form, i);
    }
    ww_jw_close(w);
    write_dependencies(w, report);
    if (report->links[0].n_sources > 0) {
        write_formulation(w, report);
    }
    ww_jw_close(w);
    return WW_OK;
}

enum ww_err ww_chain_bom(const struct ww_chain_report *report, char **out,
                         struct ww_error *err)
{
    const struct ww_bom_form form = {.signers = true};
    struct ww_buf buf;
    struct ww_jw w;
    size_t len = 0;
    enum ww_err rc = WW_OK;

    *out = NULL;
    ww_buf_init(&buf, WW_BOM_MAX_BYTES);
    ww_jw_init(&w, &buf, 2);
    rc = ww_bom_write_into(&w, report, &form, err);
    if (!rc) {
        rc = ww_jw_end(&w, err);
    }
    if (!rc) {
        *out = (char *)ww_buf_take(&buf, &len);
    }
    ww_buf_release(&buf);
    return rc;
}
