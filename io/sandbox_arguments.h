// io/sandbox_arguments.h — what bubblewrap is told to make of a Confinement (private to io).
#pragma once

#include <berth/core/result.h>
#include <berth/io/process_host.h>

#include <string>
#include <vector>

namespace berth::inline v0::io {

/// The arguments of berth-launch (io/launch_main.cc) for `spec`, whose confinement is of kind
/// `namespaces`; `program` is the file that it runs. Looks at the files that it names and makes
/// those that are to be made. Errors: `invalid` ("bad_launch") as in resolve_given, and where no
/// program for it is named.
///
/// Besides what is named, the tree sees: the program with the packages that it comes with, the
/// program that its `#!` names, and the folders of PATH; none of these where something hidden lies
/// in it. Of root's tree, what others may not read in /etc is hidden.
Result<std::vector<std::string>> sandbox_arguments(const LaunchSpec& spec,
                                                   const std::string& program);

}  // namespace berth::inline v0::io
