# CMAKE_PROJECT_INCLUDE hook of builds against ROS 2 wheels in a virtual environment; a ROS machine never reads it.

# The wheels export include directories of the machine that built them (/opt/python/...), which CMake refuses at
# generation. The targets appear with each find_package, so this waits for the end of the directory.
function(crossover_drop_missing_includes)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(directories ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT directories)
      continue()
    endif()
    set(present "")
    foreach(directory IN LISTS directories)
      # Generator expressions cannot be judged here and are kept.
      if(directory MATCHES "^\\$<" OR EXISTS "${directory}")
        list(APPEND present "${directory}")
      endif()
    endforeach()
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${present}")
  endforeach()
endfunction()
cmake_language(DEFER CALL crossover_drop_missing_includes)

# rosidl exports the numpy headers' place with our Python library; inside a .venv in the source tree CMake refuses that,
# and nobody builds against this library.
function(crossover_drop_exported_numpy)
  if(TARGET ${PROJECT_NAME}__rosidl_generator_py)
    set_target_properties(${PROJECT_NAME}__rosidl_generator_py PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "")
  endif()
endfunction()
cmake_language(DEFER CALL crossover_drop_exported_numpy)

# tf2_msgs and bond have no wheels; /tf needs the one's TFMessage, nav2's bond the other's Status. Built as packages of
# their own, so that they are simply not built where the real ones are present. A symlinked install cannot have two
# packages in one configuration: there colcon is given cmake/tf2_msgs and cmake/bond as further base paths.
if(PROJECT_NAME STREQUAL "crossover_ros" AND NOT AMENT_CMAKE_SYMLINK_INSTALL)
  foreach(package IN ITEMS tf2_msgs bond)
    find_package(${package} QUIET)
    if(NOT ${package}_FOUND)
      add_subdirectory("${CMAKE_CURRENT_LIST_DIR}/${package}" ${package})
    endif()
  endforeach()
endif()
