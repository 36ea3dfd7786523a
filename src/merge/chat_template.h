/* SPDX-License-Identifier: Apache-2.0 */
/** Formats of conversations by name. */
#ifndef WW_MERGE_CHAT_TEMPLATE_H
#define WW_MERGE_CHAT_TEMPLATE_H

/** Jinja text of alpaca, chatml, exaone, llama3 or mistral; NULL for another name. */
const char *ww_chat_template(const char *name);

#endif
