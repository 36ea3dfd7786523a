/* SPDX-License-Identifier: Apache-2.0 */
/* Every fact of whatever parses as config.json can be asked for. */
#include "fuzz.h"

#include <string.h>

#include "model/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ww_error err = {0};
    struct ww_config *config = NULL;
    enum ww_err rc = ww_config_parse(data, size, &config, &err);
    FUZZ_CHECK((config != NULL) == (rc == WW_OK));
    FUZZ_CHECK((strlen(err.text) > 0) == (rc != WW_OK));
    if (!config) {
        return 0;
    }
    FUZZ_CHECK(config->text && config->root);
    for (enum ww_fact fact = 0; fact < WW_FACT_COUNT; fact++) {
        struct ww_error fact_err = {0};
        bool present = false;
        uint64_t value = 0;
        rc = ww_config_fact(config->text, fact, &present, &value, &fact_err);
        FUZZ_CHECK(rc == WW_OK || (rc == WW_E_CONFIG && !present));
        FUZZ_CHECK(present || rc || value == 0);
    }
    for (size_t i = 0; ww_config_architecture(config, i); i++) {
        FUZZ_CHECK(i < size);
    }
    (void)ww_config_at(config->text, "rope_parameters.rope_theta");
    FUZZ_CHECK(!config->tie || config->tie_present);
    ww_config_free(config);
    return 0;
}
