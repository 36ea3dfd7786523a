/* SPDX-License-Identifier: Apache-2.0 */
/* Written by keystream.py; frozen. */
#define KS_SALT "weightward test salt"
#define KS_INFO "weightward/test/keystream/v1"
static const uint32_t ks_first[] = {
    2373797123u, 2285325207u, 3442893505u, 2509933013u, 732371288u, 1115664837u,
    1903770427u, 3396982438u, 547703193u, 998050368u, 3184019881u, 1281964645u,
    4177011016u, 1386172252u, 1281039249u, 1749540273u,
};
/* Words around the end of the first 4 KiB, and word 4999. */
static const uint32_t ks_edge[] = {
    3072894860u, 3926993137u, 3686289357u, 2935562557u, 1812308671u, 1955299892u,
};
static const uint32_t ks_word_4999 = 3543305663u;
/* Drawn in this order from one stream, over and over. */
static const uint32_t ks_bounds[] = {
    1u, 2u, 3u, 7u, 10u, 1000u, 65536u, 2147483649u, 3221225472u, 4294967295u,
};
static const uint32_t ks_below[] = {
    0u, 1u, 1u, 0u, 8u, 837u, 15163u, 547703193u, 998050368u, 3184019881u, 0u, 0u, 1u,
    0u, 3u, 682u, 62778u, 776904007u, 3056204089u, 2052154292u, 0u, 0u, 2u, 6u, 9u,
    947u, 4543u, 701096327u, 10678002u, 2248814273u, 0u, 1u, 1u, 4u, 6u, 512u, 3381u,
    1149662827u, 2890803944u, 411261674u, 0u, 0u, 1u, 2u, 6u, 751u, 24675u, 1388450830u,
    1061797315u, 2427672750u, 0u, 0u, 1u, 6u, 0u, 518u, 23533u, 1144836966u, 379304252u,
    4121505085u, 0u, 1u, 2u, 5u, 4u, 472u, 62966u, 1100554518u, 1633601271u,
    1250246528u, 0u, 0u, 0u, 2u, 4u, 775u, 33776u, 1540259074u, 1237318185u,
    3452142426u,
};
static const uint32_t ks_perm_20[] = {
    10u, 4u, 15u, 2u, 14u, 6u, 19u, 0u, 11u, 18u, 16u, 9u, 5u, 13u, 12u, 8u, 17u, 7u,
    1u, 3u,
};
/* SHA-256 over the little-endian words. */
static const char ks_perm_5000[] =
    "7789682c96e880f061eebb62efaace16b2a119c44dcc7d884fc11fa9668dfd57";
static const char ks_perm_150000[] =
    "52a9cec74c07bfcdace754db6e7cce1c6406ce6bfb4f1c5d32c96da7a08cb5e9";
