"""What Kibana shows of Tasques: data views, searches and dashboards, as files that it imports.

They are written in the form of Kibana 8.12, which all later ones up to 9.x take too.
"""
