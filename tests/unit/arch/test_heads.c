/* SPDX-License-Identifier: Apache-2.0 */
/* Which head an encoder has, and what it reads: asked of the class that config.json
 * names. */
#include "ww_model_fixture.h"

#include "layout_check.h"

static struct ww_layout *resolve(struct ww_fx *fx)
{
    struct ww_error err = {0};
    struct ww_layout *l = NULL;
    const char *fault = NULL;
    OK(ww_layout_resolve(ww_fx_open(fx), NULL, &l, &err));
    fault = ww_layout_check(l);
    if (fault) {
        fail_msg("%s", fault);
    }
    return l;
}

#define BERT_NAMED(class_name)                                                           \
    "{\"model_type\": \"bert\", \"architectures\": [\"" class_name                       \
    "\"], \"hidden_size\": 8, \"num_hidden_layers\": 1, \"intermediate_size\": 6,"       \
    " \"num_attention_heads\": 2, \"vocab_size\": 11}"

static struct ww_fx *bert(const char *config)
{
    static const char *const square[] = {"attention.self.query", "attention.self.key",
                                         "attention.self.value",
                                         "attention.output.dense"};
    static const char *const norms[] = {"encoder.layer.0.attention.output.LayerNorm",
                                        "encoder.layer.0.output.LayerNorm",
                                        "embeddings.LayerNorm"};
    struct ww_fx *fx = ww_fx_new(config);
    ww_fx_add(fx, "11,8", "embeddings.word_embeddings.weight");
    ww_fx_add(fx, "5,8", "embeddings.position_embeddings.weight");
    ww_fx_add(fx, "2,8", "embeddings.token_type_embeddings.weight");
    for (int i = 0; i < 4; i++) {
        ww_fx_add(fx, "8,8", "encoder.layer.0.%s.weight", square[i]);
        ww_fx_add(fx, "8", "encoder.layer.0.%s.bias", square[i]);
    }
    for (int i = 0; i < 3; i++) {
        ww_fx_add(fx, "8", "%s.weight", norms[i]);
        ww_fx_add(fx, "8", "%s.bias", norms[i]);
    }
    ww_fx_add(fx, "6,8", "encoder.layer.0.intermediate.dense.weight");
    ww_fx_add(fx, "6", "encoder.layer.0.intermediate.dense.bias");
    ww_fx_add(fx, "8,6", "encoder.layer.0.output.dense.weight");
    ww_fx_add(fx, "8", "encoder.layer.0.output.dense.bias");
    return fx;
}

/* What is said of a masked-language class needs its transform, tied or not: without it
 * the folder holds an encoder, and its answer is the stream. */
static void an_encoder_without_the_heads_transform_is_headless(void **state)
{
    (void)state;
    struct ww_fx *fx = bert(BERT_NAMED("BertForMaskedLM"));
    struct ww_layout *l = resolve(fx);
    assert_string_equal(l->task, "headless");
    assert_int_equal(l->residual.group, WW_RESIDUAL_FIXED);
    ww_layout_free(l);
    ww_fx_free(fx);
}

/* The transform of a masked-language head that a bare encoder does not read moves
 * nothing. */
static void a_bare_encoder_with_a_head_beside_it_is_headless(void **state)
{
    static const char *const configs[] = {BERT_NAMED("BertForMaskedLM"),
                                          BERT_NAMED("BertModel")};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct ww_fx *fx = bert(configs[i]);
        ww_fx_add(fx, "8,8", "cls.predictions.transform.dense.weight");
        ww_fx_add(fx, "8", "cls.predictions.transform.dense.bias");
        ww_fx_add(fx, "8", "cls.predictions.transform.LayerNorm.weight");
        ww_fx_add(fx, "8", "cls.predictions.transform.LayerNorm.bias");
        ww_fx_add(fx, "11", "cls.predictions.bias");
        struct ww_layout *l = resolve(fx);
        assert_string_equal(l->task, i == 0 ? "masked-lm" : "headless");
        assert_int_equal(l->residual.group,
                         i == 0 ? WW_RESIDUAL_PERM : WW_RESIDUAL_FIXED);
        ww_layout_free(l);
        ww_fx_free(fx);
    }
}

static void add_pooled_classifier(struct ww_fx *fx)
{
    ww_fx_add(fx, "8,8", "pooler.dense.weight");
    ww_fx_add(fx, "8", "pooler.dense.bias");
    ww_fx_add(fx, "3,8", "classifier.weight");
    ww_fx_add(fx, "3", "classifier.bias");
}

/* Whether a classifier reads the pooled vector or the stream is the class's to say. */
static void classifiers_beside_a_pooler_read_what_their_class_does(void **state)
{
    static const struct {
        const char *config;
        uint32_t n_segments;
    } cases[] = {{BERT_NAMED("BertForSequenceClassification"), 0},
                 {BERT_NAMED("BertForTokenClassification"), 1}};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct ww_fx *fx = bert(cases[i].config);
        add_pooled_classifier(fx);
        struct ww_layout *l = resolve(fx);
        const uint32_t t = ww_model_find(l->model, "classifier.weight");
        assert_int_equal(l->bindings[t].axis[1].n_segments, cases[i].n_segments);
        ww_layout_free(l);
        ww_fx_free(fx);
    }
}

/* Names that do not say it are those of a trainer's own class, or of the model that it
 * began with. */
static void
a_classifier_beside_a_pooler_needs_one_class_that_says_what_it_reads(void **state)
{
    static const char *const configs[] = {
        "{\"model_type\": \"bert\", \"hidden_size\": 8, \"num_hidden_layers\": 1,"
        " \"intermediate_size\": 6, \"num_attention_heads\": 2, \"vocab_size\": 11}",
        BERT_NAMED("BertModel"), BERT_NAMED("BertForMaskedLM"), BERT_NAMED("BertTagger"),
        BERT_NAMED("BertForTokenClassification\", \"BertForSequenceClassification")};
    (void)state;
    for (size_t i = 0; i < sizeof(configs) / sizeof(*configs); i++) {
        struct ww_error err = {0};
        struct ww_layout *l = NULL;
        struct ww_fx *fx = bert(configs[i]);
        add_pooled_classifier(fx);
        FAILS(ww_layout_resolve(ww_fx_open(fx), NULL, &l, &err), WW_E_ARCH);
        assert_non_null(strstr(err.text, "reads the pooled vector or the stream"));
        ww_fx_free(fx);
    }
}

#define EUROBERT_NAMED(class_name)                                                       \
    "{\"model_type\": \"eurobert\", \"architectures\": [\"" class_name                   \
    "\"], \"hidden_size\": 8, \"num_hidden_layers\": 1, \"intermediate_size\": 6,"       \
    " \"num_attention_heads\": 2, \"vocab_size\": 11}"

/* One layer as Llama's, and what reads the stream behind it. */
static struct ww_fx *llama_like(const char *config, const char *prefix, const char *head)
{
    struct ww_fx *fx = ww_fx_new(config);
    ww_fx_add(fx, "11,8", "%sembed_tokens.weight", prefix);
    for (int i = 0; i < 4; i++) {
        ww_fx_add(fx, "8,8", "%slayers.0.self_attn.%c_proj.weight", prefix, "qkvo"[i]);
    }
    ww_fx_add(fx, "6,8", "%slayers.0.mlp.gate_proj.weight", prefix);
    ww_fx_add(fx, "6,8", "%slayers.0.mlp.up_proj.weight", prefix);
    ww_fx_add(fx, "8,6", "%slayers.0.mlp.down_proj.weight", prefix);
    ww_fx_add(fx, "8", "%slayers.0.input_layernorm.weight", prefix);
    ww_fx_add(fx, "8", "%slayers.0.post_attention_layernorm.weight", prefix);
    ww_fx_add(fx, "8", "%snorm.weight", prefix);
    ww_fx_add(fx, "3,8", "%s.weight", head);
    ww_fx_add(fx, "3", "%s.bias", head);
    return fx;
}

static struct ww_fx *eurobert_classifier(const char *config, bool dense)
{
    struct ww_fx *fx = llama_like(config, "model.", "classifier");
    if (dense) {
        ww_fx_add(fx, "8,8", "dense.weight");
        ww_fx_add(fx, "8", "dense.bias");
    }
    return fx;
}

/* Between the dense layer and the classifier lies an activation, through which no sign
 * of the stream may go. */
static void a_classifier_behind_an_activation_stays(void **state)
{
    (void)state;
    for (int dense = 0; dense < 2; dense++) {
        struct ww_fx *fx = eurobert_classifier(
            dense ? EUROBERT_NAMED("EuroBertForSequenceClassification")
                  : EUROBERT_NAMED("EuroBertForTokenClassification"),
            dense);
        struct ww_layout *l = resolve(fx);
        const uint32_t t = ww_model_find(l->model, "classifier.weight");
        assert_string_equal(l->task, "classifier");
        assert_int_equal(l->residual.group, WW_RESIDUAL_SIGNED);
        assert_int_equal(l->bindings[t].axis[1].n_segments, !dense);
        if (dense) {
            const uint32_t d = ww_model_find(l->model, "dense.weight");
            assert_int_equal(l->bindings[d].axis[0].n_segments, 0);
            assert_int_equal(l->bindings[d].axis[1].n_segments, 1);
        }
        ww_layout_free(l);
        ww_fx_free(fx);
    }
}

static void a_classifier_of_another_class_is_refused(void **state)
{
    (void)state;
    for (int dense = 0; dense < 2; dense++) {
        struct ww_error err = {0};
        struct ww_layout *l = NULL;
        struct ww_fx *fx = eurobert_classifier(
            dense ? EUROBERT_NAMED("EuroBertForTokenClassification")
                  : EUROBERT_NAMED("EuroBertForSequenceClassification"),
            dense);
        FAILS(ww_layout_resolve(ww_fx_open(fx), NULL, &l, &err), WW_E_ARCH);
        assert_non_null(strstr(err.text, "dense layer in front"));
        ww_fx_free(fx);
    }
}

/* transformers writes these models below another prefix. */
static void answers_of_a_decoder_are_read_off_the_stream(void **state)
{
    (void)state;
    struct ww_fx *fx = llama_like(
        "{\"model_type\": \"llama\", \"architectures\": [\"LlamaForQuestionAnswering\"],"
        " \"hidden_size\": 8, \"num_hidden_layers\": 1, \"intermediate_size\": 6,"
        " \"num_attention_heads\": 2, \"vocab_size\": 11}",
        "transformer.", "qa_outputs");
    struct ww_layout *l = resolve(fx);
    const uint32_t t = ww_model_find(l->model, "qa_outputs.weight");
    assert_int_equal(l->residual.group, WW_RESIDUAL_SIGNED);
    assert_int_equal(l->bindings[t].axis[1].n_segments, 1);
    ww_layout_free(l);
    ww_fx_free(fx);
}

#define DISTILBERT_NAMED(class_name)                                                     \
    "{\"model_type\": \"distilbert\", \"architectures\": [\"" class_name                 \
    "\"], \"dim\": 8, \"n_layers\": 1, \"hidden_dim\": 6,"                               \
    " \"n_heads\": 2, \"vocab_size\": 11}"

static struct ww_fx *distilbert_classifier(const char *config)
{
    static const char *const lin[] = {"q", "k", "v", "out"};
    static const char *const norms[] = {"embeddings.LayerNorm",
                                        "transformer.layer.0.sa_layer_norm",
                                        "transformer.layer.0.output_layer_norm"};
    struct ww_fx *fx = ww_fx_new(config);
    ww_fx_add(fx, "11,8", "embeddings.word_embeddings.weight");
    ww_fx_add(fx, "5,8", "embeddings.position_embeddings.weight");
    for (int i = 0; i < 4; i++) {
        ww_fx_add(fx, "8,8", "transformer.layer.0.attention.%s_lin.weight", lin[i]);
        ww_fx_add(fx, "8", "transformer.layer.0.attention.%s_lin.bias", lin[i]);
    }
    for (int i = 0; i < 3; i++) {
        ww_fx_add(fx, "8", "%s.weight", norms[i]);
        ww_fx_add(fx, "8", "%s.bias", norms[i]);
    }
    ww_fx_add(fx, "6,8", "transformer.layer.0.ffn.lin1.weight");
    ww_fx_add(fx, "6", "transformer.layer.0.ffn.lin1.bias");
    ww_fx_add(fx, "8,6", "transformer.layer.0.ffn.lin2.weight");
    ww_fx_add(fx, "8", "transformer.layer.0.ffn.lin2.bias");
    ww_fx_add(fx, "8,8", "pre_classifier.weight");
    ww_fx_add(fx, "8", "pre_classifier.bias");
    ww_fx_add(fx, "3,8", "classifier.weight");
    ww_fx_add(fx, "3", "classifier.bias");
    return fx;
}

/* A layer in front of the classifier that a tagger does not read may lie beside it. */
static void a_tagger_reads_the_stream_whatever_lies_beside_it(void **state)
{
    static const struct {
        const char *config;
        uint32_t n_segments;
    } cases[] = {{DISTILBERT_NAMED("DistilBertForSequenceClassification"), 0},
                 {DISTILBERT_NAMED("DistilBertForTokenClassification"), 1}};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct ww_fx *fx = distilbert_classifier(cases[i].config);
        struct ww_layout *l = resolve(fx);
        const uint32_t t = ww_model_find(l->model, "classifier.weight");
        assert_int_equal(l->bindings[t].axis[1].n_segments, cases[i].n_segments);
        ww_layout_free(l);
        ww_fx_free(fx);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_encoder_without_the_heads_transform_is_headless),
        cmocka_unit_test(a_bare_encoder_with_a_head_beside_it_is_headless),
        cmocka_unit_test(classifiers_beside_a_pooler_read_what_their_class_does),
        cmocka_unit_test(
            a_classifier_beside_a_pooler_needs_one_class_that_says_what_it_reads),
        cmocka_unit_test(a_classifier_behind_an_activation_stays),
        cmocka_unit_test(a_classifier_of_another_class_is_refused),
        cmocka_unit_test(answers_of_a_decoder_are_read_off_the_stream),
        cmocka_unit_test(a_tagger_reads_the_stream_whatever_lies_beside_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
