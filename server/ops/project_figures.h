// server/ops/project_figures.h — what each project has in the server, for /metrics. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

struct ProjectFigures {
  std::uint64_t sessions = 0;  ///< In memory.
  std::uint64_t turns = 0;     ///< That have not ended, of these.
  std::uint64_t agents = 0;    ///< That have a process.
};

struct ProjectRow {
  std::string project;
  ProjectFigures figures;
};

/// The sum of those for which there is no row; no project can be called so.
inline constexpr std::string_view kOtherProjects = "_other";

/// At most `rows_max` (1 or more) rows by name, so that nobody's projects make a scraper's memory
/// grow: of more projects those with the most sessions (then agents, then by name), and the sum of
/// the others in the last row.
std::vector<ProjectRow> project_rows(const std::map<std::string_view, ProjectFigures>& all,
                                     std::size_t rows_max);

}  // namespace berth::server
