// berth openapi: the contract of the HTTP API.
#include <berth/server/api/api.h>
#include <berth/server/api/contract.h>
#include <berth/server/cli/commands.h>
#include <berth/server/cli/terminal.h>

namespace berth::server {

namespace {

std::string routes_as_lines() {
  std::string out;
  for (const ApiRoute& route : Api::routes()) {
    out.append(route.method).append(" ").append(route.pattern).append(" ");
    out.append(to_string(route.scope)).append("\n");
  }
  return out;
}

}  // namespace

int openapi_command(bool routes) {
  Terminal terminal(true);
  terminal.write(routes ? routes_as_lines() : std::string(kContract) + "\n");
  return 0;
}

}  // namespace berth::server
