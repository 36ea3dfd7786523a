/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first byte says what the rest is: '1' the raw material of a tensor statement, which
 * is written, read and compared; otherwise a statement as it was signed.
 */
#include "fuzz.h"

#include <string.h>

#include "sign/tensors.h"
#include "stream/tree.h"
#include "util/alloc.h"
#include "util/str.h"

#define MAX_TENSORS 64
#define NAME_BYTES 8

static void check_items(const struct ww_tensor_statement *statement)
{
    for (size_t i = 0; i < statement->n_items; i++) {
        const struct ww_tensor_item *item = &statement->items[i];
        FUZZ_CHECK(item->rank <= WW_MAX_RANK);
        FUZZ_CHECK(ww_tensors_find(statement, item->name) == i);
        FUZZ_CHECK(ww_text_ok((const uint8_t *)item->name, strlen(item->name)));
    }
    FUZZ_CHECK(ww_tensors_find(statement, "no tensor\n") == statement->n_items);
}

static void read_statement(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_tensor_statement statement;
    enum ww_err rc = ww_tensors_parse(data, size, &statement, &err);
    FUZZ_CHECK((rc == WW_OK) == (statement.n_items > 0));
    FUZZ_CHECK((rc == WW_OK) == (err.text[0] == '\0'));
    check_items(&statement);
    ww_tensors_release(&statement);
}

struct material {
    const uint8_t *at;
    size_t left;
};

static uint8_t next(struct material *m)
{
    if (m->left == 0) {
        return 0;
    }
    m->left--;
    return *m->at++;
}

struct made {
    struct ww_tensor tensors[MAX_TENSORS];
    const struct ww_tensor *sorted[MAX_TENSORS];
    char names[MAX_TENSORS][NAME_BYTES + 1];
    uint8_t roots[MAX_TENSORS][WW_SHA256_BYTES];
    size_t n;
};

/* Names ascend because each begins with its number. */
static void make_tensor(struct made *made, struct material *m)
{
    struct ww_tensor *tensor = &made->tensors[made->n];
    char *name = made->names[made->n];
    snprintf(name, NAME_BYTES + 1, "%02zu%c%c", made->n, ' ' + next(m) % 95,
             ' ' + next(m) % 95);
    tensor->name = name;
    tensor->dtype = (enum ww_dtype)(next(m) % WW_DTYPE_COUNT);
    tensor->rank = next(m) % (WW_MAX_RANK + 1);
    for (unsigned i = 0; i < tensor->rank; i++) {
        tensor->shape[i] = (uint64_t)next(m) << (next(m) % 40);
    }
    tensor->n_bytes = (uint64_t)next(m) << (next(m) % 44);
    memset(made->roots[made->n], next(m), WW_SHA256_BYTES);
    made->sorted[made->n] = tensor;
    made->n++;
}

static void compare(const struct ww_tensor_statement *statement, const struct made *made)
{
    FUZZ_CHECK(statement->n_items == made->n);
    for (size_t i = 0; i < made->n; i++) {
        const struct ww_tensor_item *item = &statement->items[i];
        const struct ww_tensor *tensor = &made->tensors[i];
        FUZZ_CHECK(strcmp(item->name, tensor->name) == 0);
        FUZZ_CHECK(strcmp(item->dtype, ww_dtype_name(tensor->dtype)) == 0);
        FUZZ_CHECK(item->rank == tensor->rank && item->n_bytes == tensor->n_bytes);
        FUZZ_CHECK(memcmp(item->shape, tensor->shape, sizeof(item->shape)) == 0);
        FUZZ_CHECK(memcmp(item->root, made->roots[i], WW_SHA256_BYTES) == 0);
    }
}

static void write_and_read(const uint8_t *data, size_t size)
{
    struct material m = {data, size};
    struct made *made = calloc(1, sizeof(*made));
    struct ww_error err = {0};
    struct ww_tensor_statement statement;
    struct ww_buf payload;
    uint8_t root[WW_SHA256_BYTES];
    FUZZ_CHECK(made);
    while (made->n < MAX_TENSORS && (m.left > 0 || made->n == 0)) {
        make_tensor(made, &m);
    }
    ww_buf_init(&payload, 1 << 20);
    const struct ww_rooted_tensors tensors = {
        .by_name = made->sorted,
        .roots = (const uint8_t(*)[WW_SHA256_BYTES])made->roots,
        .n = made->n};
    FUZZ_CHECK(ww_tensors_statement("m", &tensors,
                                    size % 2 ? "{\"level\":\"exact\"}" : NULL, &payload,
                                    root, &err) == WW_OK);
    FUZZ_CHECK(ww_tensors_parse(payload.data, payload.len, &statement, &err) == WW_OK);
    FUZZ_CHECK(memcmp(statement.model_root, root, sizeof(root)) == 0);
    FUZZ_CHECK((statement.lock != NULL) == (size % 2 == 1));
    compare(&statement, made);
    check_items(&statement);
    ww_tensors_release(&statement);
    ww_buf_release(&payload);
    free(made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == '1') {
        write_and_read(data + 1, size - 1);
    } else if (size > 0) {
        read_statement(data + 1, size - 1);
    }
    return 0;
}
