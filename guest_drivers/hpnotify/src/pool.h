/* SPDX-License-Identifier: MIT */
/* The tag of the driver's pool allocations. */
#ifndef HPNOTIFY_POOL_H
#define HPNOTIFY_POOL_H

#define HPN_POOL_TAG 'tnpH'

#endif
