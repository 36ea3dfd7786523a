/* SPDX-License-Identifier: Apache-2.0 */
/**
 * Connections, by libmicrohttpd (the only file that includes it). Bounded in what clients
 * may do: bytes of heads and bodies, connections, idle time.
 */
#ifndef WW_SERVE_DOOR_H
#define WW_SERVE_DOOR_H

#include "serve/served.h"

struct ww_door;

/** Does "HOST:PORT" name this machine alone? WW_E_USAGE when it is none. */
enum ww_err ww_door_address(const char *listen, bool *here,
                            struct ww_error *err) WW_MUST_USE;

/** Borrows served. WW_E_USAGE, WW_E_IO. */
enum ww_err ww_door_open(struct ww_served *served, const char *listen,
                         struct ww_door **out, struct ww_error *err) WW_MUST_USE;
/** "HOST:PORT", with the port that was got. */
const char *ww_door_where(const struct ww_door *door);
/** No new connection. */
void ww_door_shut(struct ww_door *door);
/** Ends the connections that are left. */
void ww_door_free(struct ww_door *door);

#endif
