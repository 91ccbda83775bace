#include "schema/all.h"

#include "apirelay/auth/v1/admin_service.pb-c.h"
#include "apirelay/auth/v1/api_key_service.pb-c.h"
#include "apirelay/auth/v1/identity_service.pb-c.h"
#include "apirelay/auth/v1/key_access_service.pb-c.h"
#include "apirelay/auth/v1/limit_service.pb-c.h"
#include "apirelay/auth/v1/session_service.pb-c.h"
#include "apirelay/auth/v1/settings_service.pb-c.h"
#include "apirelay/relay/v1/chat_service.pb-c.h"
#include "apirelay/relay/v1/ledger_service.pb-c.h"
#include "apirelay/relay/v1/provider_service.pb-c.h"
#include "apirelay/usage/v1/accounting_service.pb-c.h"
#include "apirelay/usage/v1/alert_service.pb-c.h"
#include "apirelay/usage/v1/ingest_service.pb-c.h"
#include "apirelay/usage/v1/ledger_service.pb-c.h"
#include "apirelay/usage/v1/rating_service.pb-c.h"
#include "apirelay/usage/v1/usage_service.pb-c.h"
#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"

#include "gw_descriptor_set.h"

/* schema_test.c fails when a service of the descriptor set is missing here. */
static const ProtobufCServiceDescriptor *const services[] = {
    &apirelay__auth__v1__admin_service__descriptor,
    &apirelay__auth__v1__audit_service__descriptor,
    &apirelay__auth__v1__api_key_service__descriptor,
    &apirelay__auth__v1__identity_service__descriptor,
    &apirelay__auth__v1__key_access_service__descriptor,
    &apirelay__auth__v1__limit_service__descriptor,
    &apirelay__auth__v1__session_service__descriptor,
    &apirelay__auth__v1__settings_service__descriptor,
    &apirelay__relay__v1__chat_service__descriptor,
    &apirelay__relay__v1__ledger_service__descriptor,
    &apirelay__relay__v1__provider_service__descriptor,
    &apirelay__usage__v1__accounting_service__descriptor,
    &apirelay__usage__v1__alert_service__descriptor,
    &apirelay__usage__v1__ingest_service__descriptor,
    &apirelay__usage__v1__ledger_service__descriptor,
    &apirelay__usage__v1__rating_service__descriptor,
    &apirelay__usage__v1__usage_service__descriptor,
    &grpc__health__v1__health__descriptor,
    &grpc__reflection__v1__server_reflection__descriptor,
};

gw_status gw_schema_all(gw_schema **ret, gw_error *err)
{
    return gw_schema_new(gw_descriptor_set, gw_descriptor_set_len, services, GW_ARRAY_LEN(services),
                         ret, err);
}
