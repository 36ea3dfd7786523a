/* SPDX-License-Identifier: Apache-2.0 */
/* Base or parent, for a part of a version: a matter of the part alone.
 */
#include "rmm_fixture.h"

#include <fcntl.h>

#include "rmm/pack_choice.h"
#include "rmm/parent.h"

#define SIDE 256
#define NUMBERS ((size_t)SIDE * SIDE)

/* Numbers of one exponent, two thirds of which are others in the later version, and hints
 * that would say which. */
static void fill_versions(uint8_t *before, uint8_t *after, uint8_t *hinted)
{
    uint64_t seed = 11;
    for (size_t i = 0; i < NUMBERS; i++) {
        const bool changed = fx_random(&seed) % 100 < 66;
        const uint16_t old = (uint16_t)(0x3f00 | (fx_random(&seed) & 0x807f));
        const uint16_t other = (uint16_t)(0x3f00 | (fx_random(&seed) & 0x807f));
        memcpy(before + 2 * i, &old, 2);
        memcpy(after + 2 * i, changed ? &other : &old, 2);
        hinted[2 * i + 1] = changed ? 0x30 : 0x4f;
    }
}

/* Or the same package would have other bytes on other threads. */
static void what_a_coder_did_before_decides_nothing(void **state)
{
    static const struct ww_pack_rank shape = {.rank = 1, .rows = SIDE};
    struct fx *f = fx_new();
    char *dir = fx_join(f->dir, "before");
    uint8_t *numbers = calloc(5, 2 * NUMBERS);
    uint8_t *const after = numbers + 2 * NUMBERS;
    uint8_t *const hinted = numbers + 4 * NUMBERS;
    struct ww_error err = {0};
    struct ww_pack_report report;
    struct ww_pack_file file;
    struct ww_parent parent;
    struct ww_unpack_rooms rooms;
    struct ww_rank rank;
    (void)state;
    assert_non_null(numbers);
    assert_int_equal(mkdir(dir, 0755), 0);
    fill_versions(numbers, after, hinted);
    fx_shard(dir, "model.safetensors",
             "{\"x\":{\"dtype\":\"BF16\",\"shape\":[256,256],"
             "\"data_offsets\":[0,131072]}}",
             numbers, 2 * NUMBERS);
    fx_write(f->dir, "after", after, 2 * NUMBERS);
    const struct ww_pack_member member = {"before", dir, NULL, 0};
    const struct ww_pack_options options = {.run = {.threads = 1}};
    OK(ww_pack_create(f->pkg, &member, 1, &options, &report, &err));
    ww_pack_report_release(&report);
    OK(ww_pack_open(f->pkg, &file, &err));
    OK(ww_parent_open(file.fd, file.manifest.members[0].offset, &file.manifest.members[0],
                      NULL, NULL, NULL, &parent, &err));
    OK(ww_rank_init(&rank, &shape, SIDE, WW_DTYPE_BF16, &err));
    ww_unpack_rooms_init(&rooms);
    const struct ww_pack_job job = {.fd = open(fx_name(f->dir, "/after"), O_RDONLY),
                                    .name = "after",
                                    .n = 2 * NUMBERS,
                                    .type = ww_chunk_type_of(WW_DTYPE_BF16),
                                    .base.fd = -1,
                                    .parent = &parent,
                                    .rooms = &rooms,
                                    .bytes = numbers + 6 * NUMBERS,
                                    .prediction = numbers + 8 * NUMBERS};
    const struct ww_pack_choice choice = {
        .job = &job, .part_bytes = 2 * NUMBERS, .parent_part = 1};
    for (unsigned used = 0; used < 2; used++) {
        struct ww_chunk_room *coder = NULL;
        bool is_parent = true;
        OK(ww_chunk_room_new(&coder, &err));
        ww_chunk_room_adapt(coder);
        ww_chunk_room_hints(coder, used ? &rank : NULL, 0, hinted, 2 * NUMBERS);
        OK(ww_pack_choose(&choice, coder, &is_parent, &err));
        assert_false(is_parent);
        ww_chunk_room_free(coder);
    }
    close(job.fd);
    ww_unpack_rooms_release(&rooms);
    ww_rank_release(&rank);
    ww_parent_close(&parent);
    ww_pack_close(&file);
    free(numbers);
    free(dir);
    fx_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_coder_did_before_decides_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
