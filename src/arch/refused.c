/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refusals by model type. A type that is on neither list is merely unknown; these were
 * looked at, and what speaks against them is said. docs/architectures.md repeats the list
 * and a test compares the two.
 */
#include "arch/refused.h"

#include <string.h>

const struct ww_refused ww_refused[] = {
    {"big_bird", "attention is by blocks chosen at random"},
    {"bigbird_pegasus", "attention is by blocks chosen at random"},
    {"convbert", "heads are shared with convolutions"},
    {"convnext", "it has no attention"},
    {"convnextv2", "it has no attention"},
    {"donut-swin",
     "tables of relative positions per window, and a stream that changes its width"},
    {"efficientnet", "it has no attention"},
    {"falcon_mamba", "it has no attention"},
    {"fnet", "it has no attention"},
    {"funnel", "the sequence is pooled between blocks"},
    {"gemma3n",
     "late layers read keys and values of earlier ones, and values are normed"},
    {"gemma3n_text",
     "late layers read keys and values of earlier ones, and values are normed"},
    {"gemma4", "late layers read keys and values of earlier ones, and values are normed"},
    {"gemma4_text",
     "late layers read keys and values of earlier ones, and values are normed"},
    {"gemma4_unified",
     "late layers read keys and values of earlier ones, and values are normed"},
    {"jetmoe", "queries and output projections are experts"},
    {"led", "attention is local, with second projections for global tokens"},
    {"longformer", "attention is local, with second projections for global tokens"},
    {"longt5", "attention is local and through summaries of blocks"},
    {"mamba", "it has no attention"},
    {"mamba2", "it has no attention"},
    {"maskformer-swin",
     "tables of relative positions per window, and a stream that changes its width"},
    {"phi4_multimodal", "its layers carry adapters for images and sound"},
    {"reformer", "attention is by hashing, on a reversible stream"},
    {"resnet", "it has no attention"},
    {"rwkv", "it has no attention"},
    {"swin",
     "tables of relative positions per window, and a stream that changes its width"},
    {"swin2sr",
     "tables of relative positions per window, and a stream that changes its width"},
    {"swinv2",
     "tables of relative positions per window, and a stream that changes its width"},
    {"xlstm", "it has no attention"},
    {"zamba", "one attention serves several layers under several names"},
    {"zamba2",
     "one attention serves several layers under several names, with adapters"},
};
const size_t ww_n_refused = sizeof(ww_refused) / sizeof(*ww_refused);

const char *ww_refused_reason(const char *model_type)
{
    for (size_t i = 0; model_type && i < ww_n_refused; i++) {
        if (strcmp(ww_refused[i].model_type, model_type) == 0) {
            return ww_refused[i].reason;
        }
    }
    return NULL;
}
