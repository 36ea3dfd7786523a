/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PKCS #11 library that misbehaves: the label that is asked for says how. Real tokens
 * fail in the middle of things, and no real token does so when a test wants it to. The
 * public key is the one of the worked example, whose private half nobody has.
 */
#include <p11-kit/pkcs11.h>
#include <string.h>

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list);

static char label[64];
static int finding;
static CK_OBJECT_CLASS wanted;

static int is(const char *name)
{
    return strcmp(label, name) == 0;
}

static CK_RV start(void *args)
{
    (void)args;
    return CKR_OK;
}

static CK_RV list_slots(CK_BBOOL present, CK_SLOT_ID *slots, unsigned long *n)
{
    (void)present;
    slots[0] = 7;
    *n = 1;
    return CKR_OK;
}

static CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    (void)slot;
    memset(info, ' ', sizeof(*info));
    memcpy(info->label, "fake", 4);
    info->flags = CKF_TOKEN_INITIALIZED | CKF_LOGIN_REQUIRED;
    return CKR_OK;
}

static CK_RV open_session(CK_SLOT_ID slot, CK_FLAGS flags, void *app, CK_NOTIFY notify,
                          CK_SESSION_HANDLE *session)
{
    (void)slot;
    (void)flags;
    (void)app;
    (void)notify;
    *session = 1;
    return CKR_OK;
}

static CK_RV close_session(CK_SESSION_HANDLE session)
{
    (void)session;
    return CKR_OK;
}

static CK_RV log_in(CK_SESSION_HANDLE session, CK_USER_TYPE user, unsigned char *pin,
                    unsigned long len)
{
    (void)session;
    (void)user;
    if (len == 6 && memcmp(pin, "locked", 6) == 0) {
        return CKR_PIN_LOCKED;
    }
    return len == 4 && memcmp(pin, "1234", 4) == 0 ? CKR_OK : CKR_PIN_INCORRECT;
}

static CK_RV find_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE *attributes,
                       unsigned long n)
{
    (void)session;
    finding = 1;
    for (unsigned long i = 0; i < n; i++) {
        if (attributes[i].type == CKA_CLASS) {
            memcpy(&wanted, attributes[i].pValue, sizeof(wanted));
        }
        if (attributes[i].type == CKA_LABEL) {
            memset(label, 0, sizeof(label));
            memcpy(label, attributes[i].pValue, attributes[i].ulValueLen);
        }
    }
    return is("list-fails") ? CKR_DEVICE_ERROR : CKR_OK;
}

static CK_RV find(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, unsigned long max,
                  unsigned long *n)
{
    (void)session;
    (void)max;
    objects[0] = wanted == CKO_PRIVATE_KEY ? 1 : 2;
    objects[1] = 3;
    *n = is("none") ? 0 : is("two") ? 2 : 1;
    if (wanted != CKO_PRIVATE_KEY && is("no-public")) {
        *n = 0;
    }
    return CKR_OK;
}

static CK_RV find_end(CK_SESSION_HANDLE session)
{
    (void)session;
    finding = 0;
    return CKR_OK;
}

static CK_RV give(CK_ATTRIBUTE *at, const void *bytes, unsigned long len)
{
    if (at->ulValueLen < len) {
        return CKR_BUFFER_TOO_SMALL;
    }
    memcpy(at->pValue, bytes, len);
    at->ulValueLen = len;
    return CKR_OK;
}

static CK_RV attribute(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                       CK_ATTRIBUTE *at, unsigned long n)
{
    static const char p256[] = "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    static const char k256[] = "\x06\x05\x2b\x81\x04\x00\x0a";
    static const char point[] =
        "\x04\x41\x04\xce\x6e\xbb\x47\x97\xa6\xd7\xfe\x7d\xc1\x44\xf7\x81\x56\xd0\xff\xce"
        "\x6e\xf5\x93\x6d\xc0\x3d\xbc\x25\xcc\xe0\x9e\x33\xe8\x31\x42\x3f\x50\x38\x67\xd3"
        "\x75\x96\xc0\xa3\x14\x25\x1c\x92\x53\x0c\x62\x0a\x53\xe7\x8e\x28\xe9\x45\xa9\x4b"
        "\x41\x27\xcf\xd5\xa0\x7d\x7e";
    (void)session;
    (void)object;
    (void)n;
    switch (at->type) {
    case CKA_ID:
        return give(at, "id", 2);
    case CKA_EC_PARAMS:
        return is("other-curve") ? give(at, k256, sizeof(k256) - 1)
                                 : give(at, p256, sizeof(p256) - 1);
    case CKA_EC_POINT:
        return is("bad-point") ? give(at, point, 20) : give(at, point, sizeof(point) - 1);
    default:
        return CKR_ATTRIBUTE_TYPE_INVALID;
    }
}

static CK_RV sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                       CK_OBJECT_HANDLE key)
{
    (void)session;
    (void)key;
    if (mechanism->mechanism != CKM_ECDSA || is("no-ecdsa")) {
        return CKR_MECHANISM_INVALID;
    }
    return is("may-not-sign") ? CKR_KEY_FUNCTION_NOT_PERMITTED : CKR_OK;
}

static CK_RV sign(CK_SESSION_HANDLE session, unsigned char *data, unsigned long len,
                  unsigned char *sig, unsigned long *sig_len)
{
    (void)session;
    (void)data;
    (void)len;
    if (is("removed")) {
        return CKR_DEVICE_REMOVED;
    }
    if (is("strange")) {
        return CKR_VENDOR_DEFINED + 5;
    }
    memset(sig, 0x41, 64);
    *sig_len = is("odd") ? 63 : is("empty") ? 0 : is("huge") ? 5000 : 64;
    return CKR_OK;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
    static CK_FUNCTION_LIST functions = {
        .version = {2, 40},
        .C_Initialize = start,
        .C_Finalize = start,
        .C_GetSlotList = list_slots,
        .C_GetTokenInfo = token_info,
        .C_OpenSession = open_session,
        .C_CloseSession = close_session,
        .C_Login = log_in,
        .C_Logout = close_session,
        .C_FindObjectsInit = find_init,
        .C_FindObjects = find,
        .C_FindObjectsFinal = find_end,
        .C_GetAttributeValue = attribute,
        .C_SignInit = sign_init,
        .C_Sign = sign,
    };
    *list = &functions;
    return CKR_OK;
}
