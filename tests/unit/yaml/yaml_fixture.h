/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that must be read, or refused with a code and a sentence. */
#ifndef WW_YAML_FIXTURE_H
#define WW_YAML_FIXTURE_H

#include "ww_test.h"

#include "yaml/yaml.h"

static inline struct ww_yaml *parse(const char *text)
{
    struct ww_error err = {0};
    struct ww_yaml *yaml = NULL;
    OK(ww_yaml_parse((const uint8_t *)text, strlen(text), "test", &ww_yaml_limits_recipe,
                     &yaml, &err));
    return yaml;
}

/* The text must be refused with this code, and the sentence must hold part. */
static inline void refused(const char *text, size_t len, enum ww_err code,
                           const char *part)
{
    struct ww_error err = {0};
    struct ww_yaml *yaml = NULL;
    FAILS(ww_yaml_parse((const uint8_t *)text, len, "test", &ww_yaml_limits_recipe, &yaml,
                        &err),
          code);
    assert_null(yaml);
    if (!strstr(err.text, part)) {
        fail_msg("'%s' does not say '%s'", err.text, part);
    }
}

#endif
