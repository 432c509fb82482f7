#include <unistd.h>

#include <iostream>

#include "client/cli/cli.h"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  return portolan::client::RunCli(arguments, {std::cout, std::cerr, isatty(STDERR_FILENO) == 1});
}
