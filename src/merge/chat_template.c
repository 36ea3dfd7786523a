/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Formats of conversations that a recipe may name, as Jinja text. Written from what the
 * models of that name are trained on; none ends a turn with more than they do.
 */
#include "merge/chat_template.h"

#include <string.h>

#include "util/fail.h"

#define EACH(turn) "{% for m in messages %}" turn "{% endfor %}"
#define BEGIN(answer) "{% if add_generation_prompt %}" answer "{% endif %}"
#define BY_ROLE(system, user, other)                                                     \
    "{% if m['role'] == 'system' %}" system "{% elif m['role'] == 'user' %}" user        \
    "{% else %}" other "{% endif %}"

static const struct {
    const char *name;
    const char *text;
} formats[] = {
    {"alpaca", EACH(BY_ROLE("{{ m['content'] + '\\n\\n' }}",
                            "{{ '### Instruction:\\n' + m['content'] + '\\n\\n' }}",
                            "{{ '### Response:\\n' + m['content'] + '\\n\\n' }}"))
                   BEGIN("{{ '### Response:\\n' }}")},
    {"chatml", EACH("{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + "
                    "'<|im_end|>' + '\\n' }}") BEGIN("{{ '<|im_start|>assistant\\n' }}")},
    {"exaone",
     EACH("{% if loop.first and m['role'] != 'system' %}"
          "{{ '[|system|][|endofturn|]\\n' }}{% endif %}"
          "{% if m['role'] == 'user' %}{{ '[|user|]' + m['content'] + '\\n' }}{% else %}"
          "{{ '[|' + m['role'] + '|]' + m['content'] + '[|endofturn|]\\n' }}{% endif %}")
         BEGIN("{{ '[|assistant|]' }}")},
    {"llama3", EACH("{% if loop.first %}{{ bos_token }}{% endif %}"
                    "{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\\n\\n' + "
                    "m['content'] | trim + '<|eot_id|>' }}")
                   BEGIN("{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}")},
    /* Turns alternate; what the system says stands before the first question. */
    {"mistral",
     "{% set ns = namespace(system='', asked=false) %}{{ bos_token }}" EACH(
         BY_ROLE("{% if not loop.first %}{{ raise_exception('the system speaks first') }}"
                 "{% endif %}{% set ns.system = m['content'] + '\\n\\n' %}",
                 "{% if ns.asked %}{{ raise_exception('user and assistant take turns') }}"
                 "{% endif %}{{ ' [INST] ' + ns.system + m['content'] + ' [/INST]' }}"
                 "{% set ns.system = '' %}{% set ns.asked = true %}",
                 "{% if m['role'] != 'assistant' or not ns.asked %}"
                 "{{ raise_exception('user and assistant take turns') }}{% endif %}"
                 "{{ ' ' + m['content'] + eos_token }}{% set ns.asked = false %}"))},
};

const char *ww_chat_template(const char *name)
{
    for (size_t i = 0; i < WW_LEN(formats); i++) {
        if (strcmp(formats[i].name, name) == 0) {
            return formats[i].text;
        }
    }
    return NULL;
}
