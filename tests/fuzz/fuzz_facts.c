/* SPDX-License-Identifier: Apache-2.0 */
/* What a model says about itself to a policy: its card, the policies it asks for, and
 * those under which something was decided about it. */
#include "fuzz.h"

#include <string.h>

#include "trust/lineage.h"

static void card(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_source_facts facts = {0};
    struct ww_card_facts found;

    FUZZ_CHECK(ww_card_facts_read(data, size, &facts, &found, &err) == WW_OK);
    for (size_t i = 0; i < found.tags.n; i++) {
        FUZZ_CHECK(found.tags.items[i]);
    }
    ww_facts_release(&facts);
}

typedef enum ww_err (*read_fn)(const uint8_t *text, size_t len,
                               struct ww_source_facts *out, struct ww_error *err);

static void needs(read_fn read, const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_source_facts facts = {0};
    const enum ww_err rc = read(data, size, &facts, &err);

    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    for (size_t i = 0; i < facts.n_needs; i++) {
        FUZZ_CHECK(facts.needs[i].id && facts.needs[i].id[0]);
    }
    ww_facts_release(&facts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    card(data, size);
    needs(ww_reference_read, data, size);
    needs(ww_decision_parse, data, size);
    return 0;
}
