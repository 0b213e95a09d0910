// The `berth` program.
#include <berth/server/cli/cli.h>

int main(int argc, char** argv) {
  return berth::server::cli_main(argc, argv);
}
