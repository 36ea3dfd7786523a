/* SPDX-License-Identifier: Apache-2.0 */
/* Vocabularies that differ between models. */
#include "merge/build.h"
#include "util/fail.h"

enum ww_err ww_build_vocab(struct ww_build *build, struct ww_error *err)
{
    if (build->recipe->vocab.source != WW_VOCAB_DONOR) {
        return WW_FAIL(err, WW_E_UNSUPPORTED,
                       "tokenizer_source and tokenizer are not supported yet");
    }
    return WW_OK;
}
