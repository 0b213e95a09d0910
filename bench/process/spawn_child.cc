// bench/process/spawn_child.cc — the child of spawn_bench: ends at once; with any argument it stays
// until its stdin ends.
#include <unistd.h>

int main(int argc, char**) {
  char byte = 0;
  while (argc > 1 && ::read(0, &byte, 1) > 0) {
  }
  return 0;
}
