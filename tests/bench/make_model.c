/* SPDX-License-Identifier: Apache-2.0 */
/*
 * make_model SIZE OUT: a synthetic bf16 model folder from a fixed seed, with the shapes
 * of a released family of qwen2 models. SIZE is 0.5B, 1.5B, wide, headed or tiny. Values
 * are roughly normal.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const struct size {
    const char *name;
    unsigned hidden, layers, heads, kv, ff, vocab;
    bool untied;
} sizes[] = {
    {"0.5B", 896, 24, 14, 2, 4864, 151936, false},
    {"1.5B", 1536, 28, 12, 2, 8960, 151936, false},
    {"wide", 896, 1, 14, 2, 4864, 151936, false},  /* little more than its embedding */
    {"headed", 896, 1, 14, 2, 4864, 151936, true}, /* and a head of its own */
    {"tiny", 64, 2, 4, 2, 128, 256, false},
};

struct tensor {
    char name[80];
    uint64_t rows, cols; /* cols 0: one axis */
    float mean, spread;
};

static struct tensor tensors[1024];
static size_t n_tensors;

static void add(const char *name, uint64_t rows, uint64_t cols, float mean, float spread)
{
    struct tensor *t = &tensors[n_tensors++];
    snprintf(t->name, sizeof t->name, "%s", name);
    t->rows = rows;
    t->cols = cols;
    t->mean = mean;
    t->spread = spread;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

static void list_tensors(const struct size *s)
{
    char name[80];
    unsigned kv_rows = s->hidden / s->heads * s->kv;
    const struct {
        const char *suffix;
        uint64_t rows, cols;
    } parts[] = {
        {"mlp.gate_proj.weight", s->ff, s->hidden},
        {"mlp.up_proj.weight", s->ff, s->hidden},
        {"mlp.down_proj.weight", s->hidden, s->ff},
        {"self_attn.q_proj.weight", s->hidden, s->hidden},
        {"self_attn.k_proj.weight", kv_rows, s->hidden},
        {"self_attn.v_proj.weight", kv_rows, s->hidden},
        {"self_attn.o_proj.weight", s->hidden, s->hidden},
        {"self_attn.q_proj.bias", s->hidden, 0},
        {"self_attn.k_proj.bias", kv_rows, 0},
        {"self_attn.v_proj.bias", kv_rows, 0},
        {"input_layernorm.weight", s->hidden, 0},
        {"post_attention_layernorm.weight", s->hidden, 0},
    };
    add("model.embed_tokens.weight", s->vocab, s->hidden, 0, 0.02F);
    if (s->untied) {
        add("lm_head.weight", s->vocab, s->hidden, 0, 0.02F);
    }
    add("model.norm.weight", s->hidden, 0, 1, 0.1F);
    for (unsigned l = 0; l < s->layers; l++) {
        for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
            snprintf(name, sizeof name, "model.layers.%u.%s", l, parts[p].suffix);
            add(name, parts[p].rows, parts[p].cols, strstr(name, "norm") ? 1 : 0,
                parts[p].cols ? 0.02F : 0.1F);
        }
    }
    qsort(tensors, n_tensors, sizeof tensors[0], by_name);
}

static uint64_t state = 20260411;

static uint64_t next(void) /* splitmix64 */
{
    uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Sum of four uniform bytes pairs: close to normal, integers only until the last step. */
static uint16_t value(const struct tensor *t)
{
    uint64_t r = next();
    int sum = (int)(r & 0xffff) + (int)(r >> 16 & 0xffff) + (int)(r >> 32 & 0xffff) +
              (int)(r >> 48) - 2 * 0xffff;
    float f = t->mean + t->spread * (float)sum / 37837.0F;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static int write_header(FILE *out)
{
    char *json = NULL;
    size_t len = 0;
    FILE *text = open_memstream(&json, &len);
    uint64_t offset = 0;
    fputs("{\"__metadata__\":{\"format\":\"pt\"}", text);
    for (size_t i = 0; i < n_tensors; i++) {
        const struct tensor *t = &tensors[i];
        uint64_t bytes = 2 * t->rows * (t->cols ? t->cols : 1);
        fprintf(text, ",\"%s\":{\"dtype\":\"BF16\",\"shape\":[%llu", t->name,
                (unsigned long long)t->rows);
        if (t->cols) {
            fprintf(text, ",%llu", (unsigned long long)t->cols);
        }
        fprintf(text, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)offset,
                (unsigned long long)(offset + bytes));
        offset += bytes;
    }
    fputc('}', text);
    while (ftell(text) % 8 != 0) {
        fputc(' ', text);
    }
    fclose(text);
    uint64_t n = len;
    size_t ok = fwrite(&n, 8, 1, out) + fwrite(json, len, 1, out);
    free(json);
    return ok == 2 ? 0 : -1;
}

static int write_weights(const char *path)
{
    static uint16_t block[1 << 16];
    FILE *out = fopen(path, "wb");
    if (!out || write_header(out) != 0) {
        return -1;
    }
    for (size_t i = 0; i < n_tensors; i++) {
        uint64_t left = tensors[i].rows * (tensors[i].cols ? tensors[i].cols : 1);
        while (left > 0) {
            size_t n = left < 1 << 16 ? left : 1 << 16;
            for (size_t k = 0; k < n; k++) {
                block[k] = value(&tensors[i]);
            }
            if (fwrite(block, 2, n, out) != n) {
                return -1;
            }
            left -= n;
        }
    }
    return fclose(out);
}

static int write_config(const char *path, const struct size *s)
{
    FILE *out = fopen(path, "w");
    if (!out) {
        return -1;
    }
    fprintf(
        out,
        "{\n  \"architectures\": [\"Qwen2ForCausalLM\"],\n  \"model_type\": \"qwen2\",\n"
        "  \"hidden_act\": \"silu\",\n  \"hidden_size\": %u,\n"
        "  \"intermediate_size\": %u,\n  \"num_attention_heads\": %u,\n"
        "  \"num_hidden_layers\": %u,\n  \"num_key_value_heads\": %u,\n"
        "  \"rms_norm_eps\": 1e-06,\n  \"rope_theta\": 1000000.0,\n"
        "  \"tie_word_embeddings\": %s,\n  \"torch_dtype\": \"bfloat16\",\n"
        "  \"vocab_size\": %u\n}\n",
        s->hidden, s->ff, s->heads, s->layers, s->kv, s->untied ? "false" : "true",
        s->vocab);
    return fclose(out);
}

int main(int argc, char **argv)
{
    const struct size *s = NULL;
    char path[4096];
    for (size_t i = 0; argc == 3 && i < sizeof sizes / sizeof sizes[0]; i++) {
        if (strcmp(argv[1], sizes[i].name) == 0) {
            s = &sizes[i];
        }
    }
    if (!s) {
        fprintf(stderr, "usage: make_model 0.5B|1.5B|wide|headed|tiny OUT\n");
        return 2;
    }
    list_tensors(s);
    if (mkdir(argv[2], 0755) != 0) {
        perror(argv[2]);
        return 1;
    }
    snprintf(path, sizeof path, "%s/model.safetensors", argv[2]);
    if (write_weights(path) != 0) {
        perror(path);
        return 1;
    }
    snprintf(path, sizeof path, "%s/config.json", argv[2]);
    return write_config(path, s) == 0 ? 0 : 1;
}
