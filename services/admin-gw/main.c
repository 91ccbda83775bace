/* admin-gw: the management API, REST in front of the gRPC services. */
#include "admin_gw_app.h"

int main(int argc, char **argv)
{
    return admin_gw_app_main(argc, argv);
}
