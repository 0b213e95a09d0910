#!/usr/bin/python3
"""Prints the berth profile (a TOML table) of a real agent, for the demo and for trying by hand."""

import argparse
import os
import sys

import recipes


def main():
    parser = argparse.ArgumentParser(description="print a berth profile of a real agent")
    parser.add_argument("--agents-dir", default=recipes.DEFAULT_AGENTS_DIR,
                        help="where install.sh put it")
    parser.add_argument("--home", required=True, help="a directory that becomes the agent's HOME")
    parser.add_argument("--model-port", required=True, type=int, help="port of model_server.mjs")
    parser.add_argument("--ask", action="store_true", help="the agent asks for permission")
    parser.add_argument("--name", default="opencode", help="name of the profile")
    options = parser.parse_args()
    recipe = recipes.opencode(options.agents_dir, os.path.abspath(options.home),
                              options.model_port, options.ask)
    if not os.access(recipe.command, os.X_OK):
        sys.exit(f"{recipe.command} is missing: run tests/real_agents/install.sh first")
    sys.stdout.write(recipe.to_toml(options.name))


if __name__ == "__main__":
    main()
